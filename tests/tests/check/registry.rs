//! What the schema registry says of itself: its mode, and whom it lets in. Both are a stand-in's, before the real registry, which has neither.

use millrace_tests::failure::Result;
use millrace_tests::front::Front;
use millrace_tests::processes::{Binary, free_address};
use millrace_tests::scenario::{World, must, scenario};
use millrace_tests::stack::Stack;
use millrace_tests::wait::{Probe, until};
use serde_json::{Value, json};

use super::{Base, ENDS_WITHIN, assess, fix_of, published, unchecked};

const READ_ONLY: &str = r#"{"mode":"READONLY"}"#;
const REFUSED: &str = r#"{"error_code":40101,"message":"Unauthorized"}"#;

#[test]
fn what_the_registry_says_of_itself_is_found_alone() {
    scenario("check_mode", async |world| {
        let mut mysql = world.mysql().await?;
        mysql.run("CREATE TABLE a (id INT PRIMARY KEY)").await?;
        published(world).await?;
        let front = Front::start(&world.stack.registry).await?;
        let fronted = world.seen_at(Stack { registry: front.url.clone(), ..world.stack.clone() });
        let url = front.url.as_str();
        // The real one has no modes, and that is said.
        let real = assess(world, Binary::Producer, &world.producer_settings()?).await?;
        must(unchecked(&real, "registry.mode").is_some(), || format!("{:#}", real.json))?;
        front.says("/mode", 200, r#"{"mode":"READWRITE"}"#);
        let producer = Base::new(&fronted, Binary::Producer, fronted.producer_settings()?).await?;
        let mut settings = fronted.consumer_settings()?;
        settings["topics"] = json!([format!("{}.{}.*", world.name, world.name)]);
        let consumer = Base::new(&fronted, Binary::Consumer, settings).await?;
        front.says("/mode", 200, READ_ONLY);
        let assessed = producer.expect("read-only", &[("registry.mode", "error", url)]).await?;
        must(fix_of(&assessed, "registry.mode").contains(&format!("{url}/mode")), || format!("{:#}", assessed.json))?;
        consumer.expect("read-only", &[("registry.mode", "warning", url)]).await?;
        front.says("/mode", 403, REFUSED);
        for base in [&producer, &consumer] {
            let assessed = base.expect("a mode that may not be asked for", &[]).await?;
            must(unchecked(&assessed, "registry.mode").is_some(), || format!("{:#}", assessed.json))?;
        }
        front.says("", 401, REFUSED);
        for base in [&producer, &consumer] {
            base.expect_only("a stranger", base.settings(), &[("registry.login", "error")]).await?;
        }
        starts(&fronted, &front, &producer, &consumer).await
    });
}

/// What a start makes of the same.
async fn starts(world: &World, front: &Front, producer: &Base<'_>, consumer: &Base<'_>) -> Result<()> {
    for (binary, base) in [(Binary::Producer, producer), (Binary::Consumer, consumer)] {
        let label = format!("stranger_{}", binary.name());
        let mut refused = world.start(binary, &label, base.settings())?;
        let code = refused.exit_code(ENDS_WITHIN).await?;
        let log = refused.log()?;
        must(code == 1 && log.contains("registry.login: ") && log.contains("--skip-check"), || log.clone())?;
    }
    front.says("/mode", 200, READ_ONLY);
    let mut refused = world.start(Binary::Producer, "read_only", producer.settings())?;
    let code = refused.exit_code(ENDS_WITHIN).await?;
    let log = refused.log()?;
    must(code == 1 && log.contains("registry.mode: "), || log.clone())?;
    // The consumer can go on with a registry that takes no schemas, and waits for one that doesn't answer: it says so.
    warns(world, "reads", consumer.settings(), "registry.mode").await?;
    let mut away = consumer.settings().clone();
    away["registry"]["url"] = json!(format!("http://{}", free_address()?));
    warns(world, "waits", &away, "registry.reach").await
}

/// A consumer warns of this, and runs.
async fn warns(world: &World, label: &str, settings: &Value, id: &str) -> Result<()> {
    let mut settings = settings.clone();
    settings["http"]["listen"] = json!(free_address()?);
    let mut process = world.start(Binary::Consumer, label, &settings)?;
    until(&format!("{label} warns of {id} and joins"), ENDS_WITHIN, async || {
        process.must_be_well()?;
        let log = process.log()?;
        let warned = log.lines().any(|line| line.contains("WARN") && line.contains(id));
        let joined = process.get("/metrics").await.is_ok();
        Ok(Probe::of(warned && joined, || log))
    })
    .await?;
    process.stop(ENDS_WITHIN).await
}
