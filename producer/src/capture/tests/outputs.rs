//! Rules against the same model: each output has the rows that pass its filter, whatever moves in or out, and through snapshots, commits and crashes.

use std::collections::BTreeMap;

use millrace_schemas::settings::{Source, read as read_settings};
use proptest::prelude::*;

use super::*;
use crate::rules::Rules;

/// Odd values go to `o.odd`, under another name; the rows of the first keys to `d.few`, by a key that is computed.
const RULES: &str = "
rules:
  - { action: route, database: d, table: t, name: odd, value: o.odd, where: 'v IN (ODD)' }
  - { action: route, database: d, table: t, name: few, value: d.few, where: 'k < 6' }
  - { action: rename, target: column, database: d, table: t, column: v, value: was, output: odd }
  - { action: add-column, database: d, table: t, value: twice, expression: 'k + k', type: BIGINT, output: few }
  - { action: define-primary-key, database: d, table: t, key: [twice], output: few }
";
const VALUES: i32 = 400;

fn is_odd(value: i32) -> bool {
    value % 2 == 1
}

fn ruled() -> Arc<PreparedTable> {
    let odd: Vec<String> = (0..VALUES).filter(|value| is_odd(*value)).map(|value| value.to_string()).collect();
    let rules = read_settings(Source::text("rules.yaml", &RULES.replace("ODD", &odd.join(","))), Rules::read).unwrap();
    let plain = super::table();
    let outputs = rules.outputs(plain.plan.shape(), &[], SchemaOptions::default()).unwrap();
    let prepared = outputs.into_iter().zip(10..).map(|(output, value_id)| PreparedOutput {
        topic: output.shape.table.clone(),
        output,
        shared: Arc::default(),
        key_id: Some(1),
        truncate_key_id: Some(3),
        value_id,
    });
    let plan = TablePlan::new("p", plain.plan.shape().clone(), SchemaOptions::default(), |_| None).unwrap().with_column_spans();
    Arc::new(PreparedTable { outputs: prepared.collect(), ..PreparedTable::unruled(plan, None, None, 0) })
}

/// A topic folded by its records' keys: the rows, each as its columns.
fn folded(producer: &Producer, nth: usize) -> BTreeMap<Vec<u8>, Vec<i64>> {
    let prepared = &producer.table.outputs[nth];
    let schema = millrace_schemas::avro::value_schema(&prepared.output.shape, &prepared.topic, SchemaOptions::default());
    let schema = Schema::parse_str(&schema).unwrap();
    let frame = [&[0][..], &prepared.value_id.to_be_bytes()].concat();
    let mut rows = BTreeMap::new();
    let mut seqs = BTreeMap::new();
    for (key, value) in producer.topic.records.iter().filter_map(|(key, value)| Some((key, value.as_ref()?))) {
        let Some(mut rest) = value.strip_prefix(frame.as_slice()) else { continue };
        let value = apache_avro::reader::datum::GenericDatumReader::builder(&schema).build().unwrap().read_value(&mut rest).unwrap();
        assert!(rest.is_empty());
        let Value::Record(fields) = value else { panic!("no record") };
        let field = |name: &str| fields.iter().find(|(field, _)| field == name).unwrap().1.clone();
        let Value::Record(source) = field("source") else { panic!("no source") };
        let seq = source.iter().find(|(name, _)| name == "seq").map(|(_, seq)| seq.clone()).unwrap();
        let Value::Long(seq) = seq else { panic!("no seq") };
        let newest = seqs.insert(key.clone(), seq);
        assert!(newest.is_none_or(|newest| newest < seq), "G2 and G4");
        let row = |name: &str| match field(name) {
            Value::Union(_, row) => match *row {
                Value::Record(columns) => Some(columns.into_iter().map(|(_, value)| number(&value)).collect::<Vec<_>>()),
                _ => None,
            },
            _ => None,
        };
        let Value::String(op) = field("op") else { panic!("no op") };
        match op.as_str() {
            "t" => rows.clear(),
            "d" => {
                assert!(row("before").is_some() && row("after").is_none());
                rows.remove(key);
            }
            "c" | "r" | "u" => {
                assert_eq!(row("before").is_some(), op == "u");
                rows.insert(key.clone(), row("after").unwrap());
            }
            other => panic!("{other}"),
        }
    }
    rows
}

fn number(value: &Value) -> i64 {
    match value {
        Value::Int(value) => i64::from(*value),
        Value::Long(value) => *value,
        Value::Union(_, value) => number(value),
        other => panic!("{other:?}"),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn each_output_has_the_rows_that_pass_its_filter(
        existing in proptest::collection::vec(0..KEYS, 0..8),
        actions in proptest::collection::vec(action(), 0..80),
    ) {
        let mut model = Model::default();
        for key in existing {
            model.version += 1;
            model.rows.insert(key, model.version);
        }
        let mut producer = Producer { table: ruled(), ..Producer::new() };
        for action in &actions {
            producer.act(&mut model, action);
        }
        producer.end(&mut model);
        prop_assert!(model.version < VALUES);

        let odd: Vec<Vec<i64>> = model.rows.iter().filter(|(_, value)| is_odd(**value)).map(|(key, value)| vec![(*key).into(), (*value).into()]).collect();
        let few: Vec<Vec<i64>> = model.rows.range(..6).map(|(key, value)| vec![(*key).into(), (*value).into(), i64::from(*key) * 2]).collect();
        let sorted = |nth| {
            let mut rows: Vec<Vec<i64>> = folded(&producer, nth).into_values().collect();
            rows.sort_unstable();
            rows
        };
        prop_assert_eq!(sorted(0), odd);
        prop_assert_eq!(sorted(1), few);
    }
}
