//! What each mode makes of changes, truncations and dropped tables, and keys that the settings name.

use std::sync::Arc;

use apache_avro::types::Value;
use millrace_consumer::load::topic::Topic;
use millrace_consumer::rules::Rules;
use millrace_schemas::settings::{Source, read};
use millrace_schemas::shape::{ColumnType, TextKind};

use super::support::{Record, Stack, Writer, column, load_with, shape};

/// A topic under rules, and how its table ends.
struct Case {
    stack: Stack,
    database: String,
    rules: Rules,
    topic: Topic,
    writer: Writer,
}

impl Case {
    async fn new(name: &str, rules: &str) -> Option<Self> {
        let stack = Stack::clickhouse_only()?;
        let database = stack.database(name);
        let rules = read(Source::text("rules.yaml", &format!("tables: [{{ topics: [\"*\"], {rules} }}]")), Rules::read).expect("rules");
        let text = ColumnType::Text { kind: TextKind::VarChar, chars: 20, charset: "utf8mb4".to_owned() };
        let columns = vec![column("id", ColumnType::Int { unsigned: false }, false, None), column("name", text, true, None)];
        let writer = Writer::new(&stack, &shape(&database, "people", columns, vec![0])).await;
        let topic = Topic::new(Arc::from(writer.topic.as_str()), Arc::new(rules.of(&writer.topic)));
        Some(Self { stack, database, rules, topic, writer })
    }

    async fn load(&mut self, records: &[Record], first_offset: i64) -> Result<(), String> {
        let preparer = self.stack.preparer_with(self.rules.clone());
        load_with(&self.stack, &preparer, &mut self.topic, records, first_offset).await.map_err(|error| error.to_string())
    }

    async fn ends(&self, select: &str, expected: &str) {
        let sql = format!("SELECT toString(groupArray({select})) AS v FROM (SELECT * FROM `{}`.people ORDER BY ALL)", self.database);
        let sql =
            if select.contains("_op") || select.contains("_offset") { sql } else { sql.replace("people ORDER", "people FINAL ORDER") };
        assert_eq!(self.stack.text(&sql).await, expected, "{sql}");
    }

    async fn drop(self) {
        self.stack.drop_database(&self.database).await;
    }
}

fn row(id: i32, name: &str) -> [Value; 2] {
    [Value::Int(id), Value::String(name.to_owned())]
}

#[tokio::test]
async fn a_truncation_takes_only_what_is_older_and_goes_by_its_policy() {
    for (policies, dropped, ends) in [
        ("", false, Some("[(2,'newer')]")),
        ("", true, Some("[(1,'old'),(2,'newer')]")),
        ("evolve: { truncate: keep }", false, Some("[(1,'old'),(2,'newer')]")),
        ("evolve: { truncate: keep, drop_table: apply }", true, Some("[(2,'newer')]")),
        ("evolve: { truncate: stop }", false, None),
        ("evolve: { drop_table: stop }", true, None),
    ] {
        let Some(mut case) = Case::new("truncations", policies).await else { return };
        let mut truncation = case.writer.change("t", None, None, 5);
        truncation.dropped = dropped;
        // Another partition may be ahead: its newer row is there already.
        let [old, newer] = [("old", 1, 1), ("newer", 2, 9)].map(|(name, id, seq)| case.writer.change("c", None, Some(&row(id, name)), seq));
        case.load(&[old, newer], 0).await.expect("loaded");
        let result = case.load(&[truncation], 2).await;
        match ends {
            Some(rows) => {
                result.expect("taken");
                case.ends("(id, name)", rows).await;
            }
            None => {
                let error = result.expect_err("stopped");
                assert!(error.contains(if dropped { "evolve.drop_table" } else { "evolve.truncate" }), "{error}");
                case.ends("(id, name)", "[(1,'old'),(2,'newer')]").await;
            }
        }
        case.drop().await;
    }
}

#[tokio::test]
async fn a_history_has_a_row_for_each_change_of_a_keyed_table_too() {
    let Some(mut case) = Case::new("history", "mode: history").await else { return };
    let (a, b) = (row(1, "a"), row(1, "b"));
    let records = [
        case.writer.change("r", None, Some(&a), 1),
        case.writer.change("u", Some(&a), Some(&b), 2),
        case.writer.change("d", Some(&b), None, 3),
        case.writer.tombstone(&b, 3),
        case.writer.change("t", None, None, 4),
    ];
    case.load(&records, 10).await.expect("loaded");
    case.ends(
        "(_offset, _op, _version, id, name, _before_name)",
        "[(14,'t',4,0,NULL,NULL),(10,'r',1,1,'a',NULL),(11,'u',2,1,'b','a'),(12,'d',3,1,'b','b')]",
    )
    .await;
    case.drop().await;
}

#[tokio::test]
async fn an_append_table_has_what_came_and_nothing_of_what_changed_or_went() {
    let Some(mut case) = Case::new("append", "mode: append").await else { return };
    let (a, b) = (row(1, "a"), row(1, "b"));
    let records = [
        case.writer.change("r", None, Some(&a), 1),
        case.writer.change("u", Some(&a), Some(&b), 2),
        case.writer.change("d", Some(&b), None, 3),
        case.writer.tombstone(&b, 3),
        case.writer.change("t", None, None, 4),
        case.writer.change("c", None, Some(&a), 5),
    ];
    case.load(&records, 0).await.expect("loaded");
    case.ends("(_offset, id, name)", "[(0,1,'a'),(5,1,'a')]").await;
    case.drop().await;
}

#[tokio::test]
async fn a_key_of_the_settings_moves_a_row_that_gets_another() {
    let Some(mut case) = Case::new("own_key", "key: [name]").await else { return };
    let shape = shape(
        &case.database,
        "people",
        vec![
            column("id", ColumnType::Int { unsigned: false }, false, None),
            column("name", ColumnType::Text { kind: TextKind::VarChar, chars: 20, charset: "utf8mb4".to_owned() }, false, None),
        ],
        vec![0],
    );
    case.writer = Writer::new(&case.stack, &shape).await;
    let (a, b) = (row(1, "a"), row(1, "b"));
    let records = [case.writer.change("c", None, Some(&a), 1), case.writer.change("u", Some(&a), Some(&b), 2)];
    case.load(&records, 0).await.expect("loaded");
    case.ends("(id, name)", "[(1,'b')]").await;
    case.drop().await;
}
