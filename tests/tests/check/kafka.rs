//! Kafka and the registry, as the producer and the consumer need them.

use millrace_tests::acls::{self, Acl, Operation, Permission, Resource};
use millrace_tests::failure::Result;
use millrace_tests::kafka;
use millrace_tests::processes::{Binary, free_address};
use millrace_tests::scenario::{World, scenario};
use millrace_tests::server::KafkaServer;
use millrace_tests::stack::Stack;
use serde_json::{Value, json};

use super::{Base, assess};

/// The settings of the user `limited`.
fn limited(mut settings: Value, server: &KafkaServer) -> Value {
    settings["kafka"] = json!({
        "bootstrap.servers": format!("127.0.0.1:{}", server.proxied_port),
        "security.protocol": "SASL_PLAINTEXT",
        "sasl.mechanisms": "PLAIN",
        "sasl.username": "limited",
        "sasl.password": "millrace",
    });
    settings
}

const ALLOW: Permission = Permission::Allow;
const DENY: Permission = Permission::Deny;

#[test]
fn each_right_and_setting_of_kafka_is_found_alone() {
    scenario("check_kafka", async |world| {
        let more = "transaction.max.timeout.ms=120000\nmessage.max.bytes=1048588";
        let Some(server) = KafkaServer::with_rights(&world.directory, more).await? else { return Ok(()) };
        let stack = Stack { brokers: server.brokers(), ..world.stack.clone() };
        let mut mysql = world.mysql().await?;
        mysql.run_all(["CREATE TABLE a (id INT PRIMARY KEY, t LONGTEXT)", "CREATE TABLE later (id INT PRIMARY KEY)"]).await?;
        let brokers = server.brokers();
        let all = Operation::RD_KAFKA_ACL_OPERATION_ALL;
        for (resource, name, operation) in [
            (Resource::RD_KAFKA_RESOURCE_TOPIC, "*", all),
            (Resource::RD_KAFKA_RESOURCE_GROUP, "*", all),
            (Resource::RD_KAFKA_RESOURCE_TRANSACTIONAL_ID, "*", all),
            (Resource::RD_KAFKA_RESOURCE_BROKER, "kafka-cluster", Operation::RD_KAFKA_ACL_OPERATION_DESCRIBE_CONFIGS),
            (Resource::RD_KAFKA_RESOURCE_BROKER, "kafka-cluster", Operation::RD_KAFKA_ACL_OPERATION_DESCRIBE),
        ] {
            acls::add(&brokers, Acl { resource, name, operation, permission: ALLOW }).await?;
        }
        let topic = world.topic("a");
        made(world, &stack).await?;
        let mut settings = limited(world.producer_settings()?, &server);
        settings["publish"] = json!({ "transaction_timeout": "60s" });
        let base = Base::new(world, Binary::Producer, settings.clone()).await?;
        let at = format!("127.0.0.1:{}", server.proxied_port);
        let offsets = format!("{}.millrace.offsets", world.name);
        let later = world.topic("later");
        let id = format!("millrace-{}-check", world.name);
        let (of_topic, of_id) = (Resource::RD_KAFKA_RESOURCE_TOPIC, Resource::RD_KAFKA_RESOURCE_TRANSACTIONAL_ID);
        for (resource, name, operation, finding) in [
            (of_topic, topic.as_str(), Operation::RD_KAFKA_ACL_OPERATION_WRITE, ("kafka.acl.write", "error", topic.as_str())),
            (of_topic, &offsets, Operation::RD_KAFKA_ACL_OPERATION_READ, ("kafka.acl.read", "error", &offsets)),
            (of_topic, &later, Operation::RD_KAFKA_ACL_OPERATION_CREATE, ("kafka.acl.create", "error", &later)),
            (of_topic, &topic, Operation::RD_KAFKA_ACL_OPERATION_DESCRIBE, ("kafka.acl.describe", "error", &topic)),
            (of_id, &id, Operation::RD_KAFKA_ACL_OPERATION_WRITE, ("kafka.acl.transactional_id", "warning", &at)),
        ] {
            let acl = Acl { resource, name, operation, permission: DENY };
            acls::add(&brokers, acl).await?;
            base.expect(finding.0, &[finding]).await?;
            acls::remove(&brokers, acl).await?;
        }
        of_settings(&base, &settings, &stack, &later, &at).await?;
        let mut away = settings.clone();
        away["kafka"]["sasl.password"] = json!("wrong");
        base.expect_only("a wrong password", &away, &[("kafka.reach", "error")]).await?;
        // A large row, and room for it.
        mysql.run("INSERT INTO a VALUES (1, REPEAT('x', 2000000))").await?;
        base.expect("a large row", &[("kafka.message_max_bytes", "error", topic.as_str())]).await?;
        mysql.run("UPDATE a SET t = REPEAT('x', 400000)").await?;
        base.expect("a smaller row", &[("kafka.message_max_bytes", "warning", topic.as_str())]).await?;
        mysql.run("DELETE FROM a").await?;
        consumer(world, &server, &topic).await
    });
}

/// The topics as the producer would make them, but for `later`.
async fn made(world: &World, stack: &Stack) -> Result<()> {
    let own = |name: &str| format!("{}.{name}", world.name);
    for name in ["millrace.offsets", "millrace.schema-history"] {
        kafka::make(stack, &own(name), 1, &[("cleanup.policy", "compact")]).await?;
    }
    for name in ["millrace.signals", "schema-changes"] {
        kafka::make(stack, &own(name), 1, &[]).await?;
    }
    make_table(stack, &world.topic("a")).await
}

async fn make_table(stack: &Stack, topic: &str) -> Result<()> {
    kafka::make(stack, topic, 2, &[("cleanup.policy", "compact"), ("min.compaction.lag.ms", "604800000")]).await
}

async fn of_settings(base: &Base<'_>, settings: &Value, stack: &Stack, later: &str, at: &str) -> Result<()> {
    let mut long = settings.clone();
    long["publish"]["transaction_timeout"] = json!("300s");
    base.expect_with("a long transaction", &long, &[("kafka.transactions", "error", at)]).await?;
    let mut copies = settings.clone();
    copies["topics"]["replication_factor"] = json!(3);
    base.expect_with("three copies", &copies, &[("kafka.topic.new", "error", later)]).await?;
    kafka::make(stack, later, 2, &[("cleanup.policy", "delete")]).await?;
    base.expect("a topic that forgets", &[("kafka.topic.settings", "warning", later)]).await?;
    kafka::drop(stack, later).await
}

async fn consumer(world: &World, server: &KafkaServer, topic: &str) -> Result<()> {
    let mut settings = limited(world.consumer_settings()?, server);
    settings["topics"] = json!([format!("{}.{}.*", world.name, world.name)]);
    let base = Base::new(world, Binary::Consumer, settings.clone()).await?;
    let (of_topic, of_group) = (Resource::RD_KAFKA_RESOURCE_TOPIC, Resource::RD_KAFKA_RESOURCE_GROUP);
    let read = Operation::RD_KAFKA_ACL_OPERATION_READ;
    for (resource, name, finding) in [
        (of_group, world.name.as_str(), ("kafka.acl.group", "error", world.name.as_str())),
        (of_topic, topic, ("kafka.acl.read", "error", topic)),
    ] {
        let acl = Acl { resource, name, operation: read, permission: DENY };
        acls::add(&server.brokers(), acl).await?;
        base.expect(finding.0, &[finding]).await?;
        acls::remove(&server.brokers(), acl).await?;
    }
    let stack = Stack { brokers: server.brokers(), ..world.stack.clone() };
    let letters = format!("{}.millrace.dead-letters", world.name);
    kafka::make(&stack, &letters, 1, &[("cleanup.policy", "delete")]).await?;
    base.expect("letters that expire", &[("kafka.dead_letters", "warning", letters.as_str())]).await?;
    kafka::drop(&stack, &letters).await?;
    let foreign = world.topic("foreign");
    kafka::make(&stack, &foreign, 1, &[("cleanup.policy", "delete"), ("retention.ms", "1000000")]).await?;
    base.expect("a topic that forgets", &[("kafka.replay", "info", foreign.as_str())]).await?;
    kafka::drop(&stack, &foreign).await?;
    let mut small = settings.clone();
    small["kafka"]["receive.message.max.bytes"] = json!("1000000");
    base.expect_with("small answers", &small, &[("kafka.fetch_size", "error", topic)]).await?;
    let mut nothing = settings.clone();
    nothing["topics"] = json!([settings["topics"][0], "nothing.at.*"]);
    base.expect_with("a pattern", &nothing, &[("kafka.topics", "warning", "nothing.at.*")]).await?;
    let mut away = settings;
    away["kafka"]["bootstrap.servers"] = json!(free_address()?);
    base.expect_only("nobody there", &away, &[("kafka.reach", "error")]).await.map(drop)
}

#[test]
fn what_the_registry_would_refuse_is_found_alone() {
    scenario("check_registry", async |world| {
        let mut mysql = world.mysql().await?;
        mysql.run("CREATE TABLE a (id INT PRIMARY KEY, v INT NOT NULL)").await?;
        super::published(world).await?;
        let base = Base::new(world, Binary::Producer, world.producer_settings()?).await?;
        let subject = format!("{}-value", world.topic("a"));
        let level = json!({ "compatibility": "BACKWARD" }).to_string();
        let url = format!("{}/config/{subject}", world.stack.registry);
        world.stack.http.put(&url).header("content-type", "application/json").body(level).send().await?.error_for_status()?;
        base.expect("as it is registered", &[]).await?;
        mysql.run("ALTER TABLE a MODIFY v VARCHAR(9) NOT NULL").await?;
        base.expect("another type", &[("registry.compatibility", "error", subject.as_str())]).await?;
        let mut away = base.settings().clone();
        away["registry"]["url"] = json!(format!("http://{}", free_address()?));
        base.expect_only("nobody there", &away, &[("registry.reach", "error")]).await?;
        // Nobody has made or written anything by it.
        let again = assess(world, Binary::Producer, base.settings()).await?;
        millrace_tests::scenario::must(again.json["unchecked"].as_array().is_some_and(|list| !list.is_empty()), || {
            format!("{:#}", again.json)
        })
    });
}
