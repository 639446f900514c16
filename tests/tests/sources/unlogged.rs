//! Rows that were written with `sql_log_bin = 0`: the log doesn't have them, and what it has of them later comes as it is.

use millrace_tests::fold;
use millrace_tests::scenario::{must, scenario};
use millrace_tests::topic::{self, Decoder, integer};

#[test]
fn rows_that_were_not_logged_do_not_disturb_the_stream() {
    scenario("unlogged", async |world| {
        let mut mysql = world.mysql().await?;
        mysql.run_all(["CREATE TABLE a (id INT PRIMARY KEY, name TEXT)", "INSERT INTO a VALUES (1, 'read')"]).await?;
        let mut producer = world.producer().await?;
        // The row that is read comes before those that are logged.
        fold::equal(world, &mut mysql, &["a"], &mut producer).await?;
        mysql.run("INSERT INTO a VALUES (2, 'logged')").await?;
        fold::equal(world, &mut mysql, &["a"], &mut producer).await?;
        mysql
            .run_all([
                "SET SESSION sql_log_bin = 0",
                "INSERT INTO a VALUES (10, 'not logged'), (11, 'not logged'), (12, 'not logged')",
                "UPDATE a SET name = 'changed without a log' WHERE id = 2",
                "SET SESSION sql_log_bin = 1",
                "INSERT INTO a VALUES (3, 'logged')",
                "UPDATE a SET name = 'known from now on' WHERE id = 10",
                "DELETE FROM a WHERE id = 11",
                "UPDATE a SET name = 'known again' WHERE id = 2",
                // Nothing but this would tell that the rest was captured.
                "SET SESSION sql_log_bin = 0",
                "DELETE FROM a WHERE id = 12",
                "SET SESSION sql_log_bin = 1",
            ])
            .await?;
        fold::equal(world, &mut mysql, &["a"], &mut producer).await?;
        let mut decoder = Decoder::new(&world.stack);
        let mut changes = Vec::new();
        for record in topic::read_all(&world.stack, &world.topic("a")).await? {
            let key = decoder.key(&record).await?;
            if let (Some(change), Some(key)) = (decoder.change(&record).await?, key) {
                changes.push((change.seq, change.op, integer(&key, "id")?));
            }
        }
        changes.sort();
        let found: Vec<(&str, i64)> = changes.iter().map(|(_, op, id)| (op.as_str(), *id)).collect();
        let expected = [("r", 1), ("c", 2), ("c", 3), ("u", 10), ("d", 11), ("u", 2)];
        must(found == expected, || format!("{found:?}"))?;
        producer.must_be_well()
    });
}
