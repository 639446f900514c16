//! Identifiers of any kind, from the source and from the settings: none ends a statement or begins another.

use apache_avro::types::Value;
use millrace_consumer::decode::plan::PlanColumn;
use millrace_consumer::decode::types::{ColumnType, Scalar};
use millrace_consumer::rules::{Mode, TableRule};
use millrace_consumer::table::ddl::{self, Placement, Wanted};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use std::sync::Arc;

use super::support::{Stack, Writer, column, load_with, shape};
use super::tables::{int, topic_of};

const EVIL: [&str; 14] =
    ["`", "``; DROP TABLE x; --", "\\", "\\`", "'", "\"", "a b", "{table}", "😀", "select", "a\nb", "-- x", "*/ /*", "ü,(x)"];

fn identifier() -> impl Strategy<Value = String> {
    let piece = prop_oneof![3 => proptest::sample::select(&EVIL[..]).prop_map(str::to_owned), 1 => "[a-zA-Z0-9_$.]{1,6}", 1 => "[^\0\u{fffe}-\u{ffff}]{1,4}"];
    proptest::collection::vec(piece, 1..4)
        .prop_map(|pieces| pieces.concat().chars().take(40).collect::<String>())
        .prop_filter("a name", |name| !name.trim().is_empty())
}

#[test]
fn no_name_ends_its_statement() {
    let Some(stack) = Stack::clickhouse_only() else { return };
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let base = stack.database("names");
    let mut runner = TestRunner::new(Config { cases: 40, failure_persistence: None, ..Config::default() });
    let strategy = (identifier(), identifier(), identifier(), identifier(), identifier());
    let outcome = runner.run(&strategy, |(database, table, key, name, view)| {
        prop_assume!(key != name && view != table && !key.starts_with('_') && !name.starts_with('_'));
        let database = format!("{base}{database}");
        let columns = [&key, &name].map(|name| PlanColumn {
            name: Arc::from(name.as_str()),
            of: ColumnType::plain(Scalar::String),
            default: Some(name.as_bytes().to_vec()),
            declared: None,
            renamed_from: None,
        });
        let (rule, placement, keys) = (TableRule::default(), Placement::default(), [Arc::from(key.as_str())]);
        let wanted = Wanted {
            topic: &table,
            database: &database,
            table: &table,
            mode: Mode::Mirror,
            rule: &rule,
            columns: &columns[..1],
            key: &keys,
            placement: &placement,
            newest: None,
            added: &[],
        };
        runtime.block_on(async {
            let run =
                async |sql: String| stack.clickhouse().execute(&sql, &sql).await.map_err(|error| TestCaseError::fail(error.to_string()));
            let look = async |table: &str| {
                stack.clickhouse().table(&database, table).await.map_err(|error| TestCaseError::fail(error.to_string()))
            };
            run(ddl::create_database(&database, None)).await?;
            run(ddl::create_table(&wanted)).await?;
            let made = look(&table).await?.expect("the table");
            prop_assert_eq!(ddl::evolve(&wanted, &made).map(|evolved| evolved.statements), Ok(vec![]));
            let wanted = Wanted { columns: &columns, ..wanted };
            for statement in ddl::evolve(&wanted, &made).expect("evolved").statements {
                run(statement).await?;
            }
            let made = look(&table).await?.expect("the table");
            prop_assert_eq!(ddl::evolve(&wanted, &made).map(|evolved| evolved.statements), Ok(vec![]));
            prop_assert!(made.column(&key).is_some() && made.column(&name).is_some(), "{:?}", made);
            run(ddl::create_view(&wanted, &view, &made)).await?;
            let shown = look(&view).await?.expect("the view");
            prop_assert_eq!(ddl::view_is_current(&wanted, &view, &shown, &made), Ok(true));
            run(ddl::replace_view(&wanted, &view, &made)).await?;
            run(ddl::truncate(&database, &table, None, 7)).await?;
            let count = format!("SELECT toString(count()) FROM system.tables WHERE database = {}", ddl::literal(database.as_bytes()));
            prop_assert_eq!(stack.text(&count).await, "2");
            run(format!("DROP DATABASE {} SYNC", ddl::quote(&database))).await
        })
    });
    outcome.expect("every name");
}

#[tokio::test]
async fn a_row_goes_through_names_of_any_kind() {
    let Some(stack) = Stack::clickhouse_only() else { return };
    for (at, name) in EVIL.iter().chain(&["..leading.dots", &"x".repeat(64), "FINAL", "tuple()", "?", "%s"]).enumerate() {
        let database = format!("{} {name}", stack.database("any"));
        let columns = vec![column("id", int(), false, None), column(name, int(), true, None)];
        let writer = Writer::named(&stack, &format!("n{at}"), &shape(&database, name, columns, vec![0])).await;
        let preparer = stack.preparer();
        let record = writer.change("c", None, Some(&[Value::Int(1), Value::Int(7)]), 1);
        load_with(&stack, &preparer, &mut topic_of(&preparer, &writer), &[record], 0).await.expect(name);
        let view = ddl::full_name(&database, &format!("{name}_current"));
        assert_eq!(stack.text(&format!("SELECT {} FROM {view}", ddl::quote(name))).await, "7", "{name}");
        stack.clickhouse().execute("drop", &format!("DROP DATABASE {}", ddl::quote(&database))).await.expect("dropped");
    }
}
