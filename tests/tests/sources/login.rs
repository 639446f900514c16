//! Ways to log in, with a password that the server doesn't remember: the whole exchange takes place.

use std::time::Duration;

use millrace_tests::failure::Result;
use millrace_tests::processes::Binary;
use millrace_tests::scenario::{PASSWORD, World};
use millrace_tests::server::{Options, Version};
use serde_json::json;

use super::on;

const STOPPED_WITHIN: Duration = Duration::from_secs(25);

/// Logs in with a plugin, over a plain connection (where caching_sha2_password needs the server's RSA key) and over an encrypted one.
async fn check(world: &World, plugin: &str) -> Result<()> {
    let mut mysql = world.mysql().await?;
    mysql.run("CREATE TABLE IF NOT EXISTS a (id INT PRIMARY KEY)").await?;
    mysql.run(&format!("ALTER USER '{}'@'%' IDENTIFIED WITH {plugin} BY '{PASSWORD}'", world.user_name())).await?;
    for mode in ["disabled", "required"] {
        // Forgets the passwords that it has seen.
        mysql.run("FLUSH PRIVILEGES").await?;
        let mut settings = world.producer_settings()?;
        settings["source"]["tls"]["mode"] = json!(mode);
        let mut producer = world.start(Binary::Producer, &format!("{plugin}_{mode}"), &settings)?;
        producer.ready().await?;
        producer.stop(STOPPED_WITHIN).await?;
        // Now it knows the password: the short exchange.
        producer.start_again()?;
        producer.ready().await?;
        producer.stop(STOPPED_WITHIN).await?;
    }
    Ok(())
}

#[test]
fn caching_sha2_password_on_8_0() {
    on("sha2_8", Options::default(), async |world, _| check(world, "caching_sha2_password").await);
}

#[test]
fn caching_sha2_password_on_9_7() {
    on("sha2_9", Options { version: Version::Nine, ..Options::default() }, async |world, _| check(world, "caching_sha2_password").await);
}

/// 8.4 no longer has it ready, 9.0 not at all.
#[test]
fn mysql_native_password_on_8_0() {
    on("native_8", Options::default(), async |world, _| check(world, "mysql_native_password").await);
}
