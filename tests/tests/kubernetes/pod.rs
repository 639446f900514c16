//! A pod as a process: what a kubelet does with a manifest, done with a directory in place of the container's root file system. Command,
//! arguments, variables, mounted files and probes are the manifest's; only the paths are moved below that directory. Whatever this doesn't
//! know is an error, so that no part of a manifest is silently left out.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use millrace_tests::failure::{Context, Failure, Result};
use millrace_tests::processes::{Binary, READY_WITHIN, append};
use millrace_tests::scenario::must;
use millrace_tests::stack::Stack;
use millrace_tests::wait::{Probe, until};
use serde_json::Value;

use super::image::Image;
use super::yaml;

/// The manifests, and what fills the placeholders of the Secrets: values by the Secret's name and key.
#[derive(Debug)]
pub(super) struct Cluster {
    /// Every document.
    pub(super) objects: Vec<Value>,
    /// By `<secret>/<key>`.
    pub(super) secrets: BTreeMap<String, String>,
}

impl Cluster {
    /// Reads the manifests.
    pub(super) fn read(secrets: BTreeMap<String, String>) -> Result<Self> {
        let mut objects = Vec::new();
        for file in super::FILES {
            let path = super::directory().join(file);
            objects.extend(yaml::documents(&std::fs::read_to_string(&path).context(path.display())?).context(file)?);
        }
        Ok(Self { objects, secrets })
    }

    /// An object by kind and name.
    pub(super) fn object(&self, kind: &str, name: &str) -> Result<&Value> {
        let found = self.objects.iter().find(|object| object["kind"] == kind && object["metadata"]["name"] == name);
        found.context(format_args!("no {kind} {name} in deploy/kubernetes"))
    }

    /// What is in a ConfigMap, by key.
    pub(super) fn config(&self, name: &str) -> Result<BTreeMap<String, String>> {
        strings(&self.object("ConfigMap", name)?["data"])
    }

    /// What is in a Secret once it is filled in, by key.
    fn secret(&self, name: &str) -> Result<BTreeMap<String, String>> {
        let example = strings(&self.object("Secret", name)?["stringData"])?;
        let filled = example.into_keys().map(|key| {
            let value = self.secrets.get(&format!("{name}/{key}")).context(format_args!("the test has no value for {name}/{key}"))?;
            Ok((key, value.clone()))
        });
        filled.collect()
    }

    /// The files that a container finds, by their paths in it.
    pub(super) fn files(&self, pod: &Value, container: &Value) -> Result<BTreeMap<String, String>> {
        let mut files = BTreeMap::new();
        for mount in items(&container["volumeMounts"]) {
            must(mount["readOnly"] == true, || format!("{mount} can be written to"))?;
            let (name, at) = (text(&mount["name"])?, text(&mount["mountPath"])?);
            let volume = items(&pod["volumes"]).iter().find(|volume| volume["name"] == name).context(format_args!("no volume {name}"))?;
            let (source, content) = match (&volume["configMap"], &volume["secret"]) {
                (source @ Value::Object(_), Value::Null) => (source, self.config(text(&source["name"])?)?),
                (Value::Null, source @ Value::Object(_)) => (source, self.secret(text(&source["secretName"])?)?),
                _ => return Err(Failure::new(format!("a volume of an unknown kind: {volume}"))),
            };
            for (key, content) in content {
                let file = match &source["items"] {
                    Value::Null => Some(key.as_str()),
                    chosen => items(chosen).iter().find(|item| item["key"] == key.as_str()).map(|item| text(&item["path"])).transpose()?,
                };
                files.extend(file.map(|file| (format!("{at}/{file}"), content)));
            }
        }
        Ok(files)
    }

    /// A container's variables.
    fn variables(&self, container: &Value) -> Result<Vec<(String, String)>> {
        must(container.get("envFrom").is_none(), || "envFrom is unknown to this test".to_owned())?;
        let value = |variable: &Value| match (&variable["value"], &variable["valueFrom"]["secretKeyRef"]) {
            (Value::String(value), Value::Null) => Ok(value.clone()),
            (Value::Null, source @ Value::Object(_)) => {
                let (name, key) = (text(&source["name"])?, text(&source["key"])?);
                self.secret(name)?.remove(key).context(format_args!("no {key} in the Secret {name}"))
            }
            _ => Err(Failure::new(format!("a variable of an unknown kind: {variable}"))),
        };
        items(&container["env"]).iter().map(|variable| Ok((text(&variable["name"])?.to_owned(), value(variable)?))).collect()
    }
}

/// A pod's one container, running. It is killed when this is dropped.
#[derive(Debug)]
pub(super) struct Pod {
    /// Its name in this test.
    pub(super) name: String,
    container: Value,
    address: Ipv4Addr,
    grace: Option<Duration>,
    root: PathBuf,
    log: PathBuf,
    http: reqwest::Client,
    child: Child,
}

impl Pod {
    /// Starts a pod of this specification at this address of the loopback network, with these variables on top.
    pub(super) fn start(
        cluster: &Cluster,
        (name, spec): (&str, &Value),
        image: &Image,
        (stack, directory): (&Stack, &Path),
        (address, overrides): (Ipv4Addr, &[(&str, String)]),
    ) -> Result<Self> {
        let [container] = items(&spec["containers"]) else { return Err(Failure::new("not exactly one container")) };
        let root = directory.join(name);
        let mounts: Vec<&str> = items(&container["volumeMounts"]).iter().map(|mount| text(&mount["mountPath"])).collect::<Result<_>>()?;
        let below = |path: &str| root.join(path.trim_start_matches('/')).display().to_string();
        let moved = |text: &str| mounts.iter().fold(text.to_owned(), |text, mount| text.replace(mount, &below(mount)));
        for (path, content) in cluster.files(spec, container)? {
            let path = PathBuf::from(below(&path));
            std::fs::create_dir_all(path.parent().unwrap_or(&root)).context(path.display())?;
            std::fs::write(&path, moved(&content)).context(path.display())?;
        }
        std::fs::create_dir_all(&root).context(root.display())?;
        let log = directory.join(format!("{name}.log"));
        let mut words = match &container["command"] {
            Value::Null => image.entrypoint.clone(),
            command => items(command).iter().map(|word| text(word).map(str::to_owned)).collect::<Result<_>>()?,
        };
        for word in items(&container["args"]) {
            words.push(moved(text(word)?));
        }
        let output = append(&log)?;
        let mut command = Command::new(binary(&words)?);
        command.args(words.iter().skip(1)).current_dir(&root).env_clear();
        command.envs(cluster.variables(container)?).envs(overrides.iter().map(|(name, value)| (*name, value.as_str())));
        let child = command.stdin(Stdio::null()).stdout(output.try_clone()?).stderr(output).spawn().context(&words[0])?;
        let grace = spec["terminationGracePeriodSeconds"].as_u64().map(Duration::from_secs);
        Ok(Self { name: name.to_owned(), container: container.clone(), address, grace, root, log, http: stack.http.clone(), child })
    }

    /// Waits until a probe succeeds, as often as the manifest says it is tried, or for `bound` where that is longer.
    pub(super) async fn passes(&mut self, probe: &str, bound: Duration) -> Result<()> {
        let seconds = |key: &str| self.container[probe][key].as_u64().unwrap_or_default();
        let tries = Duration::from_secs(seconds("periodSeconds") * seconds("failureThreshold"));
        must(!tries.is_zero(), || format!("{probe} has no periodSeconds or failureThreshold"))?;
        let what = format!("{probe} of {} succeeds", self.name);
        until(&what, tries.max(bound), async || {
            if let Some(status) = self.child.try_wait()? {
                return Err(self.ended(status)?);
            }
            Ok(match self.ask(probe).await {
                Ok((200, _)) => Probe::Holds(()),
                Ok((code, body)) => Probe::NotYet(format!("{code} {}", body.trim())),
                Err(error) => Probe::NotYet(error.to_string()),
            })
        })
        .await
    }

    /// Waits until a consumer has partitions.
    pub(super) async fn has_partitions(&self) -> Result<()> {
        let port = port(&self.container, &Value::from("http"))?;
        let url = format!("http://{}:{port}/status", self.address);
        until(&format!("{} has partitions", self.name), READY_WITHIN, async || {
            let status: Value = serde_json::from_slice(&self.http.get(&url).send().await.context(&url)?.bytes().await?)?;
            Ok(Probe::of(!items(&status["partitions"]).is_empty(), || status.to_string()))
        })
        .await
    }

    /// Asks what a probe asks: by its path, on its port.
    async fn ask(&self, probe: &str) -> Result<(u16, String)> {
        let request = &self.container[probe]["httpGet"];
        let (path, port) = (text(&request["path"])?, port(&self.container, &request["port"])?);
        let timeout = Duration::from_secs(self.container[probe]["timeoutSeconds"].as_u64().unwrap_or(1));
        let url = format!("http://{}:{port}{path}", self.address);
        let answer = self.http.get(&url).timeout(timeout).send().await.context(&url)?;
        Ok((answer.status().as_u16(), answer.text().await?))
    }

    /// SIGTERM, as when the pod is deleted. It must end with 0 before it would be killed, and have written nothing but its log.
    pub(super) async fn delete(mut self) -> Result<()> {
        if let Some(status) = self.child.try_wait()? {
            return Err(self.ended(status)?);
        }
        let sent = Command::new("kill").args(["-TERM", &self.child.id().to_string()]).status()?;
        must(sent.success(), || format!("kill -TERM of {}: {sent}", self.name))?;
        let grace = self.grace.context("no terminationGracePeriodSeconds")?;
        self.completes(grace).await?;
        let other: Vec<String> =
            std::fs::read_dir(&self.root)?.map(|entry| Ok(entry?.file_name().display().to_string())).collect::<Result<_>>()?;
        must(other == ["etc"], || format!("{} wrote to its root file system, which is read-only: {other:?}", self.name))
    }

    /// Waits until it has ended with 0, and returns its log.
    pub(super) async fn completes(&mut self, bound: Duration) -> Result<String> {
        let status = self.ends(bound).await?;
        let log = self.log()?;
        must(status.success() && !log.contains("panicked"), || format!("{} ended with {status}: {log}", self.name))?;
        Ok(log)
    }

    /// Waits until it has ended.
    pub(super) async fn ends(&mut self, bound: Duration) -> Result<ExitStatus> {
        let what = format!("{} ends", self.name);
        until(&what, bound, async || Ok(self.child.try_wait()?.map_or_else(|| Probe::NotYet("it still runs".to_owned()), Probe::Holds)))
            .await
    }

    fn log(&self) -> Result<String> {
        std::fs::read_to_string(&self.log).context(self.log.display())
    }

    fn ended(&self, status: ExitStatus) -> Result<Failure> {
        Ok(Failure::new(format!("{} ended by itself ({status}): {}", self.name, self.log()?)))
    }
}

impl Drop for Pod {
    fn drop(&mut self) {
        // Errors mean that it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The built binary that the image has under this command's name.
fn binary(words: &[String]) -> Result<PathBuf> {
    let name = words.first().and_then(|word| word.strip_prefix("/usr/local/bin/")).context("no command in /usr/local/bin")?;
    let binary = [Binary::Producer, Binary::Consumer].into_iter().find(|binary| binary.name() == name);
    binary.context(format_args!("{name} is no binary of ours"))?.path()
}

/// A port by its number or its name.
pub(super) fn port(container: &Value, port: &Value) -> Result<u16> {
    let number = match port {
        Value::Number(number) => number.as_u64(),
        name => items(&container["ports"]).iter().find(|port| &port["name"] == name).and_then(|port| port["containerPort"].as_u64()),
    };
    number.and_then(|number| u16::try_from(number).ok()).context(format_args!("no port {port}"))
}

/// A list's elements; none where there is no list.
pub(super) fn items(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).unwrap_or_default()
}

/// A text.
pub(super) fn text(value: &Value) -> Result<&str> {
    value.as_str().context(format_args!("{value} is not a text"))
}

fn strings(map: &Value) -> Result<BTreeMap<String, String>> {
    let map = map.as_object().context("no data")?;
    map.iter().map(|(key, value)| Ok((key.clone(), text(value)?.to_owned()))).collect()
}
