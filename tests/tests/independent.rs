//! The topics, read by a client that shares no code with ours: Python with confluent-kafka and fastavro.

use std::process::Command;

use millrace_tests::failure::{Context, Failure, Result};
use millrace_tests::scenario::{must, scenario};
use millrace_tests::stack::{self, Stack};
use serde_json::Value;

#[test]
fn another_client_reads_the_topics() {
    scenario("independent", async |world| {
        let mut mysql = world.mysql().await?;
        mysql
            .run_all([
                "CREATE TABLE pair (a INT NOT NULL, b VARCHAR(10) NOT NULL, v DECIMAL(12,3), u BIGINT UNSIGNED NOT NULL DEFAULT 5, t TIMESTAMP(2) NULL, PRIMARY KEY (b, a))",
                "CREATE TABLE `odd-name` (`1st col` INT PRIMARY KEY, `text` TEXT)",
                "INSERT INTO pair SELECT n, CONCAT('k', n % 3), n * 1.5, 18446744073709551615 - CAST(n AS UNSIGNED), '2024-05-06 07:08:09.12' \
                 FROM (SELECT CAST(@n := @n + 1 AS SIGNED) AS n FROM information_schema.COLUMNS, (SELECT @n := 0) x LIMIT 300) y",
                "INSERT INTO `odd-name` VALUES (1, 'one'), (2, NULL), (3, '🚲')",
            ])
            .await?;
        let mut producer = world.producer().await?;
        let mut consumer = world.consumer("consumer").await?;
        mysql
            .run_all([
                "INSERT INTO pair (a, b, v) VALUES (-1, 'new', -0.001)",
                "UPDATE pair SET v = v + 1 WHERE a <= 10",
                "UPDATE pair SET a = a + 1000 WHERE a BETWEEN 11 AND 15",
                "DELETE FROM pair WHERE a BETWEEN 16 AND 20",
                "DELETE FROM `odd-name` WHERE `1st col` = 2",
            ])
            .await?;
        world.equal(&mut [&mut producer, &mut consumer]).await?;
        let found = read_with_python(&world.stack, &world.topic_prefix())?;
        let pair = found.get(world.topic("pair")).context(found.to_string())?;
        must(pair["ops"] == serde_json::json!({ "c": 6, "d": 10, "r": 300, "u": 11 }) && pair["tombstones"] == 10, || pair.to_string())?;
        let odd = found.get(world.topic("odd-name")).context(found.to_string())?;
        must(odd["ops"] == serde_json::json!({ "d": 1, "r": 3 }) && odd["tombstones"] == 1, || odd.to_string())?;
        for topic in [pair, odd] {
            must(topic["problems"] == serde_json::json!([]), || topic["problems"].to_string())?;
        }
        // The last state of each key, as the client decoded it, is what MySQL has.
        let rows = mysql.rows("SELECT a, b, v, u, DATE_FORMAT(t, '%Y-%m-%dT%H:%i:%s') FROM pair ORDER BY b, a").await?;
        let ours: Vec<Vec<String>> = rows
            .into_iter()
            .map(|row| {
                row.into_iter().map(|value| value.map_or("None".to_owned(), |value| String::from_utf8_lossy(&value).into_owned())).collect()
            })
            .collect();
        let theirs: Vec<Vec<String>> = pair["rows"].as_array().context("rows")?.iter().map(strings).collect();
        must(ours == theirs, || format!("MySQL {:?} … Python {:?} …", ours.iter().zip(&theirs).find(|(a, b)| a != b), theirs.len()))
    });
}

fn strings(row: &Value) -> Vec<String> {
    row.as_array().into_iter().flatten().map(|value| value.as_str().unwrap_or_default().to_owned()).collect()
}

fn read_with_python(stack: &Stack, prefix: &str) -> Result<Value> {
    let root = stack::repository();
    let python = Command::new(root.join("deploy/local/stack")).arg("python-tests").output().context("deploy/local/stack python-tests")?;
    must(python.status.success(), || String::from_utf8_lossy(&python.stderr).into_owned())?;
    let python = String::from_utf8_lossy(&python.stdout).trim().to_owned();
    let output = Command::new(&python)
        .arg(root.join("tests/python/read_topics.py"))
        .args([&stack.brokers, &stack.registry, prefix])
        .output()
        .context(&python)?;
    if !output.status.success() {
        return Err(Failure::new(String::from_utf8_lossy(&output.stderr).into_owned()));
    }
    serde_json::from_slice(&output.stdout).context(String::from_utf8_lossy(&output.stdout))
}
