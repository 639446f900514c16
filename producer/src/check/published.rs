//! What the tables are published as, after the rules: topics, schemas, and what the rules do, before anything runs. Pure.

use std::collections::BTreeMap;

use millrace_schemas::avro::SchemaOptions;
use millrace_schemas::names::{self, TOPIC_LEN_MAX};
use millrace_schemas::service::assessment::{Finding, Route};
use millrace_schemas::shape::TableShape;

use super::list;
use super::tables::name;
use crate::rules::{Output, Preview, Rules};
use crate::source::survey::Surveyed;
use crate::tables::own_topics;

/// One output of a table, or the table itself where no rule changes it.
#[derive(Debug, Clone)]
pub struct Published {
    /// `database.table` at the source.
    pub source: String,
    /// Its topic.
    pub topic: String,
    /// What is published.
    pub shape: TableShape,
    /// What the rules do; none: nothing.
    pub output: Option<Output>,
}

/// What each table is published as, and what is wrong with the rules on it.
#[must_use]
pub fn published(rules: &Rules, prefix: &str, options: SchemaOptions, surveyed: &[Surveyed]) -> (Vec<Published>, Vec<Finding>) {
    let (mut all, mut findings) = (Vec::new(), Vec::new());
    for table in surveyed {
        let Ok(described) = &table.described else { continue };
        let of = |shape: TableShape, output: Option<Output>| {
            let topic = names::table_topic(prefix, &shape.database, &shape.table);
            Published { source: name(table), topic, shape, output }
        };
        match rules.outputs(&described.shape, &table.collations, options) {
            Err(error) => findings.push(list::RULES.error(name(table), format!("{}: {}", error.rule, error.message), "correct the rule")),
            Ok(outputs) if outputs.is_empty() => all.push(of(described.shape.clone(), None)),
            Ok(outputs) => {
                for output in outputs {
                    findings.extend(output.warnings.iter().map(|warning| list::RULES.warning(name(table), warning.as_str(), "")));
                    all.push(of(output.shape.clone(), Some(output)));
                }
            }
        }
    }
    let tables: Vec<(&str, &str)> = surveyed.iter().map(|table| (table.database.as_str(), table.table.as_str())).collect();
    let general = [rules.not_honoured(), rules.warnings(), &rules.unmatched(&tables)].concat();
    findings.extend(general.into_iter().map(|line| list::RULES.warning("rules", line, "")));
    (all, findings)
}

/// Topics whose names are too long, or that several tables would have without rules that say so.
#[must_use]
pub fn topics(published: &[Published], prefix: &str) -> Vec<Finding> {
    let mut findings = Vec::new();
    let own = own_topics(prefix);
    let mut taken: BTreeMap<&str, &Published> = BTreeMap::new();
    for one in published {
        let (topic, source) = (one.topic.as_str(), one.source.as_str());
        if topic.len() > TOPIC_LEN_MAX {
            let found = format!("its topic's name has {} characters, of which Kafka takes {TOPIC_LEN_MAX}: {topic}", topic.len());
            findings.push(list::TOPIC.error(source, found, "exclude or rename the table, or shorten name"));
        }
        if own.iter().any(|own| own == topic) {
            let found = format!("the producer's own records and {source} would both be topic {topic}");
            findings.push(list::TOPIC.error(source, found, "exclude or rename one"));
        }
        let Some(first) = taken.get(topic) else {
            taken.insert(topic, one);
            continue;
        };
        match (&first.output, &one.output) {
            (Some(other), Some(output)) => {
                if let Some(what) = other.conflict(output) {
                    let found = format!("it shares topic {topic} with {}, and they differ: {what}", first.source);
                    findings.push(list::RULES.warning(
                        source,
                        found,
                        "the registry decides whether both schemas may be there; make the tables alike",
                    ));
                }
            }
            _ => {
                let found = format!("{} and {source} would both be topic {topic}", first.source);
                findings.push(list::TOPIC.error(source, found, "exclude or rename one, or have a rule about both"));
            }
        }
    }
    findings
}

/// Where each table goes: its target is the one that a consumer makes by default, as the records name the table.
#[must_use]
pub fn routes(published: &[Published]) -> Vec<Route> {
    let target = |shape: &TableShape| Some(format!("{}.{}", shape.database, shape.table));
    published.iter().map(|one| Route { source: Some(one.source.clone()), topic: one.topic.clone(), target: target(&one.shape) }).collect()
}

/// What the rules do to those that they are about.
#[must_use]
pub fn previews(published: &[Published]) -> Vec<Preview> {
    published.iter().filter_map(|one| Some(one.output.as_ref()?.preview.clone())).collect()
}

#[cfg(test)]
mod tests {
    use millrace_schemas::service::assessment::Severity;
    use millrace_schemas::settings::{Source, read};
    use millrace_schemas::shape::{Column, ColumnType};

    use super::*;
    use crate::source::catalog::Table;

    fn surveyed(name: &str, columns: &[&str]) -> Surveyed {
        let column = |name: &&str| Column { name: (*name).to_owned(), kind: ColumnType::Year, nullable: false, default: None };
        let shape = TableShape { database: "shop".into(), table: name.into(), columns: columns.iter().map(column).collect(), key: vec![0] };
        Surveyed {
            database: "shop".into(),
            table: name.into(),
            described: Ok(Table { shape, chunk_index: Some("PRIMARY".into()), key_collations: vec![None] }),
            engine: "InnoDB".into(),
            rows: 10,
            bytes: 1_000,
            generated: vec![],
            invisible: vec![],
            collations: vec![],
        }
    }

    fn published_by(rules: &str, tables: &[Surveyed]) -> (Vec<Published>, Vec<Finding>) {
        let rules = read(Source::text("r.yaml", &format!("rules:\n{rules}")), Rules::read).unwrap();
        published(&rules, "p", SchemaOptions::default(), tables)
    }

    fn found(rules: &str, tables: &[Surveyed]) -> (Vec<String>, Vec<(&'static str, Severity, String)>) {
        let (all, mut findings) = published_by(rules, tables);
        findings.extend(topics(&all, "p"));
        let topics = all.into_iter().map(|one| one.topic).collect();
        (topics, findings.into_iter().map(|finding| (finding.check.id, finding.severity, finding.subject)).collect())
    }

    #[test]
    fn a_table_goes_where_the_rules_say() {
        let rules =
            "  - { action: rename, target: schema, database: shop, value: store }\n  - { action: add-prefix, target: table, value: t_ }\n";
        let (all, _) = published_by(rules, &[surveyed("a b", &["id"])]);
        let route = Route { source: Some("shop.a b".into()), topic: "p.store.t_a_b".into(), target: Some("store.t_a b".into()) };
        assert_eq!(routes(&all), [route]);
    }

    #[test]
    fn two_tables_of_one_topic_are_refused_unless_rules_send_both_there() {
        let tables = [surveyed("a b", &["id"]), surveyed("a_b", &["id"])];
        assert_eq!(found("  []\n", &tables).1, [("table.topic", Severity::Error, "shop.a_b".to_owned())]);
        let route = "  - { action: route, value: shop.one, source_column: of }\n";
        assert_eq!(found(route, &tables), (vec!["p.shop.one".to_owned(); 2], vec![]));
        let unlike = [surveyed("a", &["id"]), surveyed("b", &["id", "more"])];
        assert_eq!(found(route, &unlike).1, [("rules", Severity::Warning, "shop.b".to_owned())]);
        let one = "  - { action: rename, target: table, table: a, value: b }\n";
        assert_eq!(found(one, &unlike).1, [("table.topic", Severity::Error, "shop.b".to_owned())]);
    }

    #[test]
    fn a_topic_has_a_name_that_kafka_takes_and_that_is_free() {
        let ids = |table: &Surveyed| found("  []\n", std::slice::from_ref(table)).1.into_iter().map(|(id, ..)| id).collect::<Vec<_>>();
        assert_eq!(ids(&surveyed(&"x".repeat(250), &["id"])), ["table.topic"]);
        let own = Surveyed { database: "millrace".into(), ..surveyed("offsets", &["id"]) };
        let Ok(described) = own.described else { panic!("it is") };
        let shape = TableShape { database: "millrace".into(), ..described.shape };
        assert_eq!(
            ids(&Surveyed { described: Ok(Table { shape, chunk_index: None, key_collations: vec![] }), ..surveyed("offsets", &["id"]) }),
            ["table.topic"]
        );
    }

    #[test]
    fn rules_that_cant_be_applied_are_errors_and_those_for_nothing_warnings() {
        let tables = [surveyed("a", &["id"])];
        let bad = "  - { action: filter, database: shop, table: a, where: \"nothing = 1\" }\n";
        assert_eq!(found(bad, &tables).1, [("rules", Severity::Error, "shop.a".to_owned())]);
        let idle = "  - { action: remove-column, database: shop, table: other, column: id }\n";
        assert_eq!(found(idle, &tables).1, [("rules", Severity::Warning, "rules".to_owned())]);
    }
}
