//! The manifests of `deploy/kubernetes`: their containers run as processes against the real servers, exactly as written but for the
//! servers' addresses; and what they say agrees with the images, the settings and the how-to.

mod image;
mod pod;
mod yaml;

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::time::Duration;

use millrace_tests::failure::{Context, Failure, Result};
use millrace_tests::processes::READY_WITHIN;
use millrace_tests::scenario::{World, must, scenario};
use millrace_tests::stack::{Stack, repository};
use millrace_tests::topic;
use millrace_tests::wait::{Probe, until};
use serde_json::Value;

use self::image::{Image, image};
use self::pod::{Cluster, Pod, port, text};

/// The Deployments and their targets in the Dockerfile.
const WORKLOADS: [(&str, &str); 2] = [("millrace-producer", "producer"), ("millrace-consumer", "consumer")];
const FILES: [&str; 5] = ["namespace.yaml", "producer.yaml", "consumer.yaml", "secrets.example.yaml", "job-settings.yaml"];
/// What leaving the group may take after a consumer's drain.
const MARGIN_MIN: Duration = Duration::from_secs(10);

#[test]
fn the_manifests_pods_carry_rows_and_end_in_time() {
    scenario("k8s", async |world| {
        let mut mysql = world.mysql().await?;
        mysql.run("CREATE TABLE item (id INT PRIMARY KEY, name VARCHAR(100) NOT NULL)").await?;
        mysql.run("INSERT INTO item VALUES (1, 'before the snapshot')").await?;
        let producer_settings = world.producer_settings()?;
        let source = |key: &str| text(&producer_settings["source"][key]).map(str::to_owned);
        let cluster = cluster(&world.stack, &source("password")?)?;

        let overrides = producer_overrides(world, source("user")?);
        let producer = start(world, &cluster, "millrace-producer", &overrides, 1).await?;
        let mut pods = start(world, &cluster, "millrace-consumer", &consumer_overrides(world), 2).await?;
        must(producer.len() == 1 && pods.len() > 1, || format!("{} producers, {} consumers", producer.len(), pods.len()))?;

        mysql.run("INSERT INTO item VALUES (2, 'from the binlog')").await?;
        world.equal(&mut []).await?;
        // The last consumer took partitions over from those before it, and gives them back: keys enough for all partitions show it.
        let last = pods.pop().context("a consumer")?;
        last.has_partitions().await?;
        last.delete().await?;
        let rows: Vec<String> = (3..=60).map(|id| format!("({id}, 'loaded by those that stay')")).collect();
        mysql.run(&format!("INSERT INTO item VALUES {}", rows.join(", "))).await?;
        mysql.run("UPDATE item SET name = 'changed' WHERE id = 1").await?;
        world.equal(&mut []).await?;
        pods.extend(producer);
        for mut pod in pods {
            pod.passes("livenessProbe", Duration::ZERO).await?;
            pod.delete().await?;
        }
        Ok(())
    });
}

#[test]
fn a_producer_that_is_replaced_while_it_runs_is_shut_out() {
    scenario("k8s_two", async |world| {
        let mut mysql = world.mysql().await?;
        mysql.run("CREATE TABLE item (id INT PRIMARY KEY, name VARCHAR(100) NOT NULL)").await?;
        let producer_settings = world.producer_settings()?;
        let source = |key: &str| text(&producer_settings["source"][key]).map(str::to_owned);
        let cluster = cluster(&world.stack, &source("password")?)?;
        let overrides = producer_overrides(world, source("user")?);
        let mut lost = start(world, &cluster, "millrace-producer", &overrides, 3).await?.remove(0);
        mysql.run("INSERT INTO item VALUES (1, 'by the first')").await?;
        has_records(world, 1).await?;
        // What the Deployment does when nobody knows whether the first one's node still lives.
        let replacing = start(world, &cluster, "millrace-producer", &overrides, 4).await?.remove(0);
        let code = lost.ends(READY_WITHIN).await?.code();
        // MySQL ends the older of two connections with one server id: where that comes before a write to Kafka, the code is 1.
        must(matches!(code, Some(1 | 3)), || format!("the older producer ended with {code:?}"))?;
        mysql.run("INSERT INTO item VALUES (2, 'by the second')").await?;
        has_records(world, 2).await?;
        replacing.delete().await?;
        has_records(world, 2).await
    });
}

#[test]
fn the_manifests_job_runs_to_its_end() {
    scenario("k8s_job", async |world| {
        let cluster = cluster(&world.stack, "unused")?;
        let job = cluster.objects.iter().find(|object| object["kind"] == "Job").context("no Job")?;
        let spec = &job["spec"]["template"]["spec"];
        let at = (Ipv4Addr::LOCALHOST, [].as_slice());
        let mut pod = Pod::start(&cluster, ("job", spec), &image_of(spec)?, (&world.stack, &world.directory), at)?;
        let bound = Duration::from_secs(job["spec"]["activeDeadlineSeconds"].as_u64().context("no activeDeadlineSeconds")?);
        let log = pod.completes(bound).await?;
        must(log.contains("MILLRACE__SOURCE__HOST"), || log.clone())
    });
}

#[test]
fn a_pod_has_more_time_to_end_than_its_drain_takes() -> Result<()> {
    for Workload { name, spec, settings, .. } in workloads()? {
        let drain = text(&settings["drain_timeout"])?.strip_suffix('s').context("drain_timeout is not in seconds")?;
        let drain = Duration::from_secs(drain.parse().context(drain)?);
        let grace = Duration::from_secs(spec["terminationGracePeriodSeconds"].as_u64().context("no terminationGracePeriodSeconds")?);
        assert!(grace >= drain + MARGIN_MIN, "{name}: {grace:?} to end, {drain:?} to drain");
    }
    Ok(())
}

#[test]
fn ports_users_and_versions_are_the_images() -> Result<()> {
    let version = env!("CARGO_PKG_VERSION");
    let cluster = Cluster::read(BTreeMap::new())?;
    for Workload { name, image, spec, settings } in workloads()? {
        let container = &spec["containers"][0];
        assert_eq!(settings["http"]["listen"], format!("0.0.0.0:{}", image.port).as_str(), "{name}");
        for (probe, path) in [("startupProbe", "/healthz"), ("livenessProbe", "/healthz"), ("readinessProbe", "/readyz")] {
            let request = &container[probe]["httpGet"];
            assert_eq!((port(container, &request["port"])?, text(&request["path"])?), (image.port, path), "{name} {probe}");
        }
        let service = cluster.object("Service", name)?;
        assert_eq!(service["metadata"]["annotations"]["prometheus.io/port"], image.port.to_string().as_str(), "{name}");
        assert_eq!(service["spec"]["ports"][0]["port"], image.port, "{name}");

        let security = &spec["securityContext"];
        assert_eq!(image.user, format!("{}:{}", security["runAsUser"], security["runAsGroup"]), "{name}");
        assert!(security["runAsUser"].as_u64().is_some_and(|user| user > 0) && security["runAsNonRoot"] == true, "{name}");
        assert_eq!(container["securityContext"]["readOnlyRootFilesystem"], true, "{name}");

        assert_eq!((image.stop_signal.as_str(), image.version.as_str()), ("SIGTERM", version), "{name}");
        assert_eq!(container["image"], format!("{name}:{version}").as_str());
        assert_eq!(image.entrypoint, [format!("/usr/local/bin/{name}")]);
    }
    Ok(())
}

#[test]
fn the_images_are_built_by_the_pinned_compiler() -> Result<()> {
    let toolchain = std::fs::read_to_string(repository().join("rust-toolchain.toml"))?;
    let channel = toolchain.lines().find_map(|line| line.strip_prefix("channel = ")).context("no channel")?.trim_matches('"');
    let stages = image::stages()?;
    let base = |wanted: &str| stages.iter().find(|(_, name)| name == wanted).map(|(base, _)| base.as_str()).context(wanted);
    let debian = base("runtime")?.strip_prefix("debian:").and_then(|tag| tag.strip_suffix("-slim")).context("not on a slim Debian")?;
    assert_eq!(base("build")?, format!("rust:{channel}-slim-{debian}"), "the compiler's and the runtime's libc differ otherwise");
    Ok(())
}

#[test]
fn the_producer_is_one_and_consumers_scale() -> Result<()> {
    let cluster = Cluster::read(BTreeMap::new())?;
    let producer = &cluster.object("Deployment", "millrace-producer")?["spec"];
    assert_eq!((&producer["replicas"], &producer["strategy"]["type"]), (&Value::from(1), &Value::from("Recreate")));
    cluster.object("PodDisruptionBudget", "millrace-consumer")?;
    for Workload { name, spec, settings, .. } in workloads()? {
        assert!(settings["kafka"].get("group.instance.id").is_none(), "{name}: the pods of a Deployment have no lasting names");
        let labels = &cluster.object("Deployment", name)?["spec"]["template"]["metadata"]["labels"];
        for object in cluster.objects.iter().filter(|object| object["metadata"]["name"] == name) {
            let Some(selector) = object["spec"].get("selector") else { continue };
            assert_eq!(selector.get("matchLabels").unwrap_or(selector), labels, "{} {name}", object["kind"]);
        }
        assert_eq!(spec["automountServiceAccountToken"], false, "{name}");
        cluster.object("ServiceAccount", text(&spec["serviceAccountName"])?)?;
    }
    Ok(())
}

#[test]
fn every_file_that_the_settings_name_is_mounted() -> Result<()> {
    let cluster = Cluster::read(examples()?)?;
    for Workload { name, spec, settings, .. } in workloads()? {
        let files = cluster.files(&spec, &spec["containers"][0])?;
        let mut named = Vec::new();
        collect_files(&settings, &mut named);
        assert!(!named.is_empty(), "{name} has its password in a file");
        for path in named {
            assert!(files.contains_key(&path), "{name}: {path} is none of {:?}", files.keys());
        }
    }
    Ok(())
}

#[test]
fn the_memory_of_waiting_rows_is_within_the_limit() -> Result<()> {
    let cluster = Cluster::read(BTreeMap::new())?;
    let spec = &cluster.object("Deployment", "millrace-consumer")?["spec"]["template"]["spec"];
    let limit = text(&spec["containers"][0]["resources"]["limits"]["memory"])?;
    let limit: u64 = limit.strip_suffix("Gi").context("not in Gi")?.parse().context(limit)?;
    let settings = yaml::documents(&cluster.config("millrace-consumer")?["consumer.yaml"])?;
    let rows = text(&settings[0]["memory_max"])?;
    let rows: u64 = rows.strip_suffix("MiB").context("not in MiB")?.parse().context(rows)?;
    // librdkafka's queue is 16 MiB; the rest is what a process and the inserts under way take.
    assert!(rows + 64 + 256 <= limit * 1024, "{rows} MiB of rows within {limit} GiB");
    Ok(())
}

#[test]
fn secrets_are_placeholders_and_nothing_applies_them() -> Result<()> {
    let cluster = Cluster::read(BTreeMap::new())?;
    assert!(cluster.objects.iter().all(|object| object["kind"] != "Secret" || object.get("data").is_none()));
    assert!(examples()?.values().all(|value| value == "REPLACE-ME"));
    let kustomization = yaml::documents(&std::fs::read_to_string(directory().join("kustomization.yaml"))?)?;
    assert_eq!(kustomization[0]["resources"], serde_json::json!(["namespace.yaml", "producer.yaml", "consumer.yaml"]));
    Ok(())
}

#[test]
fn no_manifest_is_left_out_of_these_tests() -> Result<()> {
    let names = std::fs::read_dir(directory())?.map(|entry| Ok(entry?.file_name().display().to_string()));
    let mut found: Vec<String> = names.collect::<Result<_>>()?;
    found.sort();
    let mut expected: Vec<&str> = FILES.into_iter().chain(["kustomization.yaml"]).collect();
    expected.sort_unstable();
    assert_eq!(found, expected);
    let cluster = Cluster::read(BTreeMap::new())?;
    assert!(cluster.objects.iter().all(|object| object["kind"] == "Namespace" || object["metadata"]["namespace"] == "millrace"));
    Ok(())
}

#[test]
fn the_how_to_names_what_is_there() -> Result<()> {
    let how_to = std::fs::read_to_string(repository().join("docs/how-to/kubernetes.md")).context("docs/how-to/kubernetes.md")?;
    let words = how_to.split(|c: char| !(c.is_ascii_alphanumeric() || "/._-".contains(c))).map(|word| word.trim_end_matches('.'));
    let words: Vec<&str> = words.collect();
    for path in words.iter().filter(|word| word.starts_with("deploy/")) {
        assert!(repository().join(path).exists(), "{path}");
    }
    let cluster = Cluster::read(BTreeMap::new())?;
    for (kind, prefix) in [("Deployment", "deployment/"), ("ConfigMap", "configmap/")] {
        for name in words.iter().filter_map(|word| word.strip_prefix(prefix)) {
            cluster.object(kind, name)?;
        }
    }
    let mut facts: Vec<String> = examples()?.into_keys().filter_map(|key| key.split_once('/').map(|(_, key)| key.to_owned())).collect();
    facts.extend(cluster.config("millrace-ca")?.into_keys());
    for Workload { name, image, spec, settings } in workloads()? {
        facts.push(format!("{name}:{}", image.version));
        facts.push(format!("{} s", spec["terminationGracePeriodSeconds"]));
        facts.push(text(&settings["drain_timeout"])?.replace('s', " s"));
        facts.extend(spec["tolerations"][0]["tolerationSeconds"].as_u64().map(|seconds| format!("{seconds} s")));
    }
    for fact in facts {
        assert!(how_to.contains(&fact), "the how-to doesn't say {fact}");
    }
    Ok(())
}

/// Waits until the topic has so many changes; fails if it has more.
async fn has_records(world: &World, wanted: usize) -> Result<()> {
    until("the changes are in the topic", READY_WITHIN, async || {
        let found = topic::read_all(&world.stack, &world.topic("item")).await?.iter().filter(|record| record.value.is_some()).count();
        must(found <= wanted, || format!("{found} records of {wanted} changes"))?;
        Ok(Probe::of(found == wanted, || format!("{found} of {wanted}")))
    })
    .await
}

/// Starts a Deployment's pods, each when the one before is ready, as a rollout does. Each has an address of its own, and the port that its
/// settings say.
async fn start(world: &World, cluster: &Cluster, name: &str, overrides: &[(&str, String)], network: u8) -> Result<Vec<Pod>> {
    let deployment = cluster.object("Deployment", name)?;
    let spec = &deployment["spec"]["template"]["spec"];
    let image = image_of(spec)?;
    let replicas = deployment["spec"]["replicas"].as_u64().and_then(|replicas| u8::try_from(replicas).ok()).context("no replicas")?;
    let mut pods = Vec::new();
    for replica in 0..replicas {
        let address = pod_address(network, replica);
        let mut overrides = overrides.to_vec();
        overrides.push(("MILLRACE__HTTP__LISTEN", format!("{address}:{}", image.port)));
        let label = format!("{name}-{network}-{replica}");
        let mut pod = Pod::start(cluster, (&label, spec), &image, (&world.stack, &world.directory), (address, &overrides))?;
        pod.passes("startupProbe", Duration::ZERO).await?;
        pod.passes("readinessProbe", READY_WITHIN).await?;
        pods.push(pod);
    }
    Ok(pods)
}

/// An address of the loopback network that no other pod has, nor another run of this test: ports can stay as they are written, whatever
/// else listens on them on 127.0.0.1.
fn pod_address(network: u8, replica: u8) -> Ipv4Addr {
    let [.., high, low] = std::process::id().to_be_bytes();
    Ipv4Addr::new(127, 100 + network * 32 + replica, high, low)
}

fn producer_overrides(world: &World, user: String) -> Vec<(&'static str, String)> {
    let stack = &world.stack;
    vec![
        ("MILLRACE__NAME", world.name.clone()),
        ("MILLRACE__TABLES__INCLUDE", format!("{}.*", world.name)),
        ("MILLRACE__SOURCE__HOST", stack.mysql_host.clone()),
        ("MILLRACE__SOURCE__PORT", stack.mysql_port.to_string()),
        ("MILLRACE__SOURCE__USER", user),
        ("MILLRACE__SOURCE__TLS__MODE", "disabled".to_owned()),
        ("MILLRACE__KAFKA__BOOTSTRAP_SERVERS", stack.brokers.clone()),
        ("MILLRACE__KAFKA__SECURITY_PROTOCOL", "PLAINTEXT".to_owned()),
        ("MILLRACE__REGISTRY__URL", stack.registry.clone()),
    ]
}

fn consumer_overrides(world: &World) -> Vec<(&'static str, String)> {
    let stack = &world.stack;
    vec![
        ("MILLRACE__GROUP", world.name.clone()),
        ("MILLRACE__TOPICS", format!("{}.*", world.name)),
        ("MILLRACE__KAFKA__BOOTSTRAP_SERVERS", stack.brokers.clone()),
        ("MILLRACE__KAFKA__SECURITY_PROTOCOL", "PLAINTEXT".to_owned()),
        ("MILLRACE__REGISTRY__URL", stack.registry.clone()),
        ("MILLRACE__CLICKHOUSE__URL", stack.clickhouse.clone()),
        ("MILLRACE__CLICKHOUSE__USER", stack.clickhouse_user.clone()),
    ]
}

/// The manifests with the Secrets filled in for the local stack.
fn cluster(stack: &Stack, mysql_password: &str) -> Result<Cluster> {
    let secrets = [
        ("millrace-producer/mysql-password", mysql_password),
        ("millrace-producer/kafka-password", "not asked for by this broker"),
        ("millrace-consumer/clickhouse-password", &stack.clickhouse_password),
        ("millrace-consumer/kafka-password", "not asked for by this broker"),
    ];
    Cluster::read(secrets.into_iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect())
}

/// What the Secrets hold as they are in the repository, by `<secret>/<key>`.
fn examples() -> Result<BTreeMap<String, String>> {
    let mut found = BTreeMap::new();
    for secret in Cluster::read(BTreeMap::new())?.objects.iter().filter(|object| object["kind"] == "Secret") {
        let name = text(&secret["metadata"]["name"])?;
        for (key, value) in secret["stringData"].as_object().context("no stringData")? {
            found.insert(format!("{name}/{key}"), text(value)?.to_owned());
        }
    }
    Ok(found)
}

fn directory() -> PathBuf {
    repository().join("deploy/kubernetes")
}

/// A Deployment with what it is made of.
struct Workload {
    name: &'static str,
    image: Image,
    /// Of its pods.
    spec: Value,
    /// From its ConfigMap.
    settings: Value,
}

fn workloads() -> Result<Vec<Workload>> {
    let cluster = Cluster::read(BTreeMap::new())?;
    let workload = |(name, target): (&'static str, &str)| {
        let spec = cluster.object("Deployment", name)?["spec"]["template"]["spec"].clone();
        let config = cluster.config(name)?.remove(&format!("{target}.yaml")).context(format_args!("{name} has no {target}.yaml"))?;
        let settings = yaml::documents(&config)?.remove(0);
        Ok(Workload { name, image: image(target)?, spec, settings })
    };
    WORKLOADS.into_iter().map(workload).collect()
}

/// The image that a pod's container names.
fn image_of(spec: &Value) -> Result<Image> {
    let named = text(&spec["containers"][0]["image"])?;
    let target = WORKLOADS.iter().find(|(name, _)| named.starts_with(&format!("{name}:")));
    let (_, target) = target.ok_or_else(|| Failure::new(format!("{named} is no image of deploy/Dockerfile")))?;
    image(target)
}

/// The values of all keys that end in `_file`.
fn collect_files(value: &Value, found: &mut Vec<String>) {
    for (key, value) in value.as_object().into_iter().flatten() {
        match value {
            Value::String(path) if key.ends_with("_file") => found.push(path.clone()),
            below => collect_files(below, found),
        }
    }
}
