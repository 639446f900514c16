//! Tables made, checked and evolved, statement by statement.

use super::*;
use crate::rules::{ColumnRule, Policy};

fn column(name: &str, of: &str, default: Option<&str>) -> PlanColumn {
    let default = default.map(|text| text.as_bytes().to_vec());
    PlanColumn { name: Arc::from(name), of: ColumnType::parse(of).expect("a type"), default, declared: None, renamed_from: None }
}

fn renamed(name: &str, of: &str, from: &str) -> PlanColumn {
    PlanColumn { renamed_from: Some(Arc::from(from)), ..column(name, of, None) }
}

/// A mirror that the consumer made.
fn existing(columns: &[(&str, &str)], key: &[&str]) -> Existing {
    let own = [("_version", "UInt64"), ("_deleted", "UInt8")];
    let made = |name: &str| if name.starts_with('_') { String::new() } else { names::column_comment(&[]) };
    Existing {
        engine: "ReplacingMergeTree".to_owned(),
        engine_full: "ReplacingMergeTree(_version, _deleted) ORDER BY id SETTINGS index_granularity = 8192".to_owned(),
        sorting_key: key.join(", "),
        comment: comment("p.d.t"),
        columns: columns
            .iter()
            .chain(&own)
            .map(|(name, of)| ExistingColumn {
                name: (*name).to_owned(),
                of: (*of).to_owned(),
                comment: made(name),
                in_sorting_key: key.contains(name),
                ..ExistingColumn::default()
            })
            .collect(),
    }
}

const NOWHERE: &Placement = &Placement { cluster: None, replicated: false };

fn wanted<'a>(mode: Mode, rule: &'a TableRule, columns: &'a [PlanColumn], key: &'a [Arc<str>]) -> Wanted<'a> {
    Wanted { topic: "p.d.t", database: "d", table: "t", mode, rule, columns, key, placement: NOWHERE, newest: None, added: &[] }
}

fn key(names: &[&str]) -> Vec<Arc<str>> {
    names.iter().map(|name| Arc::from(*name)).collect()
}

fn rule(set: impl FnOnce(&mut TableRule)) -> TableRule {
    let mut rule = TableRule::default();
    set(&mut rule);
    rule
}

/// What is done to a table that the newest schema's rows come to.
fn evolve_newest(rule: &TableRule, columns: &[PlanColumn], existing: &Existing) -> Result<Evolved, Mismatch> {
    let key = key(&["id"]);
    let newest = Some(Newest { is_records: true, columns });
    evolve(&Wanted { newest, ..wanted(Mode::Mirror, rule, columns, &key) }, existing)
}

/// The same for rows of an older schema.
fn evolve_older(rule: &TableRule, columns: &[PlanColumn], newest: &[PlanColumn], existing: &Existing) -> Result<Evolved, Mismatch> {
    let key = key(&["id"]);
    let newest = Some(Newest { is_records: false, columns: newest });
    evolve(&Wanted { newest, ..wanted(Mode::Mirror, rule, columns, &key) }, existing)
}

fn alter(columns: &[PlanColumn], existing: &Existing) -> Result<Vec<String>, Mismatch> {
    evolve_newest(&TableRule::default(), columns, existing).map(|evolved| evolved.statements)
}

#[test]
fn a_table_is_created_with_its_key_and_defaults() {
    let columns = [column("id", "Int64", None), column("na`me", "LowCardinality(Nullable(String))", Some("x"))];
    assert_eq!(
        create_table(&wanted(Mode::Mirror, &TableRule::default(), &columns, &key(&["id"]))),
        "CREATE TABLE IF NOT EXISTS `d`.`t` (`id` Int64 COMMENT 'Millrace: source column', \
         `na\\`me` LowCardinality(Nullable(String)) DEFAULT 'x' COMMENT 'Millrace: source column', \
         `_version` UInt64, `_deleted` UInt8) ENGINE = ReplacingMergeTree(_version, _deleted) ORDER BY (`id`) \
         COMMENT 'Millrace: topic p.d.t'"
    );
}

#[test]
fn a_rule_says_how_a_table_is_created() {
    let columns = [PlanColumn { declared: Some(Arc::from("UUID")), ..column("id", "String", None) }];
    let rule = rule(|rule| {
        rule.partition_by = Some("toYYYYMM(_committed_at)".to_owned());
        rule.order_by = vec!["id".to_owned(), "toDate(_committed_at)".to_owned()];
        rule.ttl = Some("toDate(_committed_at) + INTERVAL 1 YEAR".to_owned());
        rule.settings.insert("index_granularity".to_owned(), "4096".to_owned());
        rule.settings.insert("storage_policy".to_owned(), "it's".to_owned());
        rule.columns.insert("id".to_owned(), ColumnRule { of: Some("UUID".to_owned()), codec: Some("ZSTD(3)".to_owned()) });
    });
    let placement = Placement { cluster: Some(Arc::from("c`1")), replicated: false };
    let (key, none) = (key(&["id"]), TableRule::default());
    let wanted = Wanted { placement: &placement, ..wanted(Mode::Append, &rule, &columns, &key) };
    check_rule(&wanted).expect("a rule");
    assert_eq!(
        create_table(&wanted),
        "CREATE TABLE IF NOT EXISTS `d`.`t` ON CLUSTER `c\\`1` (`id` UUID COMMENT 'Millrace: source column' CODEC(ZSTD(3)), \
         `_committed_at` DateTime64(6, 'UTC'), `_topic` LowCardinality(String), `_partition` Int32, `_offset` Int64, \
         INDEX _offset_range _offset TYPE minmax GRANULARITY 1) ENGINE = MergeTree \
         PARTITION BY (toYYYYMM(_committed_at)) ORDER BY (`id`, (toDate(_committed_at))) TTL toDate(_committed_at) + INTERVAL 1 YEAR \
         SETTINGS index_granularity = 4096, non_replicated_deduplication_window = 1000, storage_policy = 'it\\'s' \
         COMMENT 'Millrace: topic p.d.t'"
    );
    let placement = Placement { cluster: None, replicated: true };
    let replicated = |mode| create_table(&Wanted { mode, placement: &placement, rule: &none, ..wanted.clone() });
    assert!(
        replicated(Mode::Mirror).contains("ENGINE = ReplicatedReplacingMergeTree(_version, _deleted) ORDER"),
        "{}",
        replicated(Mode::Mirror)
    );
    assert!(replicated(Mode::History).contains("ENGINE = ReplicatedMergeTree ORDER"), "{}", replicated(Mode::History));
}

#[test]
fn a_rule_that_would_break_a_table_is_refused_with_the_setting_named() {
    let columns = [column("id", "Int64", None), column("at", "Date32", None)];
    let refused = |mode, set: &dyn Fn(&mut TableRule), setting: &str| {
        let rule = rule(|rule| set(rule));
        match check_rule(&wanted(mode, &rule, &columns, &key(&["id", "at"]))) {
            Err(Mismatch::Setting { setting: found, .. }) => assert_eq!(found, setting),
            other => panic!("{setting}: {other:?}"),
        }
    };
    let text = |text: &str| Some(text.to_owned());
    refused(Mode::Mirror, &|rule| rule.order_by = vec!["id".to_owned()], "order_by");
    refused(Mode::Mirror, &|rule| rule.order_by = vec!["id".to_owned(), "toDate(at)".to_owned()], "order_by");
    refused(Mode::History, &|rule| rule.order_by = vec!["id) COMMENT 'x'".to_owned()], "order_by");
    refused(Mode::Mirror, &|rule| rule.partition_by = text("toYYYYMM(other)"), "partition_by");
    refused(Mode::Mirror, &|rule| rule.partition_by = text("toYYYYMM(at); DROP TABLE x"), "partition_by");
    refused(Mode::Mirror, &|rule| rule.engine = text("MergeTree"), "engine");
    refused(Mode::Mirror, &|rule| rule.engine = text("ReplacingMergeTree(_version)"), "engine");
    refused(Mode::Append, &|rule| rule.engine = text("ReplacingMergeTree(_version, _deleted)"), "engine");
    refused(Mode::History, &|rule| rule.engine = text("MergeTree ORDER BY x"), "engine");
    refused(Mode::History, &|rule| rule.ttl = text("at -- x"), "ttl");
    refused(Mode::History, &|rule| drop(rule.settings.insert("a = 1, b".to_owned(), "1".to_owned())), "settings");
    refused(Mode::History, &|rule| drop(rule.settings.insert(WINDOW_SETTINGS[0].to_owned(), "0".to_owned())), "settings");
    let codec = |codec: &str, of: &str| ColumnRule { of: text(of), codec: text(codec) };
    refused(Mode::History, &|rule| drop(rule.columns.insert("id".to_owned(), codec("LZ4) , x Int8 CODEC(LZ4", "Int64"))), "columns");
    refused(Mode::History, &|rule| drop(rule.columns.insert("id".to_owned(), codec("LZ4", "Int64 DEFAULT 1"))), "columns");
    let fine = rule(|rule| {
        rule.order_by = vec!["at".to_owned(), "id".to_owned()];
        rule.partition_by = text("toYYYYMM(at), id MOD 4");
        rule.engine = text("ReplicatedReplacingMergeTree('/t/{uuid}', '{replica}', _version, _deleted)");
    });
    check_rule(&wanted(Mode::Mirror, &fine, &columns, &key(&["id", "at"]))).expect("in any order, and by the key");
}

#[test]
fn a_new_column_is_added_behind_its_neighbour_unless_the_policy_is_another() {
    let columns = [column("id", "Int64", None), column("n", "Int32", Some("7"))];
    let table = existing(&[("id", "Int64")], &["id"]);
    let statements = alter(&columns, &table).expect("alterations");
    assert_eq!(
        statements,
        ["ALTER TABLE `d`.`t` ADD COLUMN IF NOT EXISTS `n` Int32 DEFAULT '7' COMMENT 'Millrace: source column' AFTER `id`"]
    );
    let kept = evolve_newest(&rule(|rule| rule.evolve.add = Policy::Keep), &columns, &table).expect("kept");
    assert!(kept.statements.is_empty() && kept.adaptation.skip.iter().eq(&key(&["n"])), "{kept:?}");
    let stopped = evolve_newest(&rule(|rule| rule.evolve.add = Policy::Stop), &columns, &table).expect_err("stopped").to_string();
    assert!(stopped.contains("'n'") && stopped.contains("'evolve.add' is stop"), "{stopped}");
}

#[test]
fn a_wider_type_is_applied_and_another_refused() {
    for (has, needed, expected) in [
        ("Int32", "Int64", Ok(Some("Int64"))),
        ("Int64", "Int32", Ok(None)),
        ("Int32", "UInt32", Ok(Some("Int64"))),
        ("UInt64", "Int64", Err(())),
        ("Int32", "Nullable(Int32)", Ok(Some("Nullable(Int32)"))),
        ("Nullable(Int64)", "Int32", Ok(None)),
        ("Decimal(10, 2)", "Decimal(12, 2)", Ok(Some("Decimal(12, 2)"))),
        ("Decimal(10, 2)", "Decimal(10, 4)", Ok(Some("Decimal(12, 4)"))),
        ("Decimal(65, 30)", "Decimal(65, 0)", Err(())),
        ("DateTime64(0, 'UTC')", "DateTime64(6, 'UTC')", Ok(Some("DateTime64(6, 'UTC')"))),
        ("String", "LowCardinality(String)", Ok(None)),
        ("String", "Int32", Err(())),
        ("Enum8('a' = 1)", "String", Err(())),
        ("Float32", "Float64", Ok(Some("Float64"))),
    ] {
        let columns = [column("id", "Int64", None), column("n", needed, None)];
        let result = alter(&columns, &existing(&[("id", "Int64"), ("n", has)], &["id"]));
        let expected = expected
            .map(|of: Option<&str>| of.map(|of| format!("ALTER TABLE `d`.`t` MODIFY COLUMN `n` {of}")).into_iter().collect::<Vec<_>>());
        match (result, expected) {
            (Ok(statements), Ok(expected)) => assert_eq!(statements, expected, "{has} for {needed}"),
            (Err(Mismatch::Type { column, .. }), Err(())) => assert_eq!(column, "n"),
            (result, expected) => panic!("{has} for {needed}: {result:?}, expected {expected:?}"),
        }
    }
}

#[test]
fn a_column_kept_narrower_is_told_to_the_plan() {
    let columns = [column("id", "Int64", None), column("n", "Nullable(Int64)", None)];
    let table = existing(&[("id", "Int64"), ("n", "Int32")], &["id"]);
    for (widen, nullable, statement, kept) in [
        (Policy::Apply, Policy::Apply, Some("Nullable(Int64)"), None),
        (Policy::Keep, Policy::Apply, Some("Nullable(Int32)"), Some("Nullable(Int32)")),
        (Policy::Apply, Policy::Keep, Some("Int64"), Some("Int64")),
        (Policy::Keep, Policy::Keep, None, Some("Int32")),
    ] {
        let rule = rule(|rule| (rule.evolve.widen, rule.evolve.nullable) = (widen, nullable));
        let evolved = evolve_newest(&rule, &columns, &table).expect("evolved");
        let statements: Vec<_> = statement.iter().map(|of| format!("ALTER TABLE `d`.`t` MODIFY COLUMN `n` {of}")).collect();
        assert_eq!(evolved.statements, statements, "{widen:?} {nullable:?}");
        assert_eq!(evolved.adaptation.existing.get("n").map(ToString::to_string).as_deref(), kept, "{widen:?} {nullable:?}");
    }
    for (policy, set) in [("widen", (Policy::Stop, Policy::Apply)), ("nullable", (Policy::Apply, Policy::Stop))] {
        let rule = rule(|rule| (rule.evolve.widen, rule.evolve.nullable) = set);
        let stopped = evolve_newest(&rule, &columns, &table).expect_err("stopped").to_string();
        assert!(stopped.contains(&format!("'evolve.{policy}' is stop")), "{stopped}");
    }
    let text = [column("id", "Int64", None), column("n", "String", None)];
    let rule = rule(|rule| rule.evolve.widen = Policy::Keep);
    assert!(matches!(evolve_newest(&rule, &text, &table), Err(Mismatch::Type { .. })), "no Int32 holds a text");
}

#[test]
fn a_consumer_that_lags_behind_does_not_make_a_column_narrower_again() {
    let (older, newest) =
        ([column("id", "Int64", None), column("n", "Int32", None)], [column("id", "Int64", None), column("n", "Int64", None)]);
    let table = existing(&[("id", "Int64"), ("n", "Int8")], &["id"]);
    let evolved = evolve_older(&TableRule::default(), &older, &newest, &table).expect("evolved");
    assert_eq!(evolved.statements, ["ALTER TABLE `d`.`t` MODIFY COLUMN `n` Int64"]);
}

#[test]
fn a_renamed_column_takes_its_rows_along_and_older_records_still_load() {
    let apply = rule(|rule| rule.evolve.rename = Policy::Apply);
    let (older, newest) =
        ([column("id", "Int64", None), column("a", "Int32", None)], [column("id", "Int64", None), renamed("b", "Int32", "a")]);
    let table = existing(&[("id", "Int64"), ("a", "Int32")], &["id"]);
    let evolved = evolve_newest(&apply, &newest, &table).expect("evolved");
    assert_eq!(
        evolved.statements,
        ["ALTER TABLE `d`.`t` COMMENT COLUMN `a` 'Millrace: source column, was [\"a\"]', RENAME COLUMN `a` TO `b`"]
    );
    let mut after = existing(&[("id", "Int64"), ("b", "Int32")], &["id"]);
    after.columns[1].comment = names::column_comment(&["a".to_owned()]);
    assert_eq!(evolve_newest(&apply, &newest, &after), Ok(Evolved::default()));
    let mapped = evolve_older(&apply, &older, &newest, &after).expect("evolved");
    assert!(mapped.statements.is_empty(), "{mapped:?}");
    assert_eq!(mapped.adaptation.renamed.get("a").map(|name| &**name), Some("b"));
    // A new column gets the old name: the newest schema's rows go there, the older ones still to the renamed column.
    let newest = [column("id", "Int64", None), renamed("b", "Int32", "a"), column("a", "Int32", None)];
    let mut both = after.clone();
    both.columns.push(ExistingColumn {
        name: "a".to_owned(),
        of: "Int32".to_owned(),
        comment: names::column_comment(&[]),
        ..ExistingColumn::default()
    });
    assert_eq!(evolve_newest(&apply, &newest, &both).expect("evolved").adaptation, Adaptation::default());
    let mapped = evolve_older(&apply, &older, &newest, &both).expect("evolved");
    assert_eq!(mapped.adaptation.renamed.get("a").map(|name| &**name), Some("b"));
}

#[test]
fn a_renamed_column_follows_its_policy() {
    let newest = [column("id", "Int64", None), renamed("b", "Int32", "a")];
    let table = existing(&[("id", "Int64"), ("a", "Int32")], &["id"]);
    let kept = evolve_newest(&TableRule::default(), &newest, &table).expect("kept");
    assert_eq!(kept.statements, ["ALTER TABLE `d`.`t` ADD COLUMN IF NOT EXISTS `b` Int32 COMMENT 'Millrace: source column' AFTER `id`"]);
    let stopped = evolve_newest(&rule(|rule| rule.evolve.rename = Policy::Stop), &newest, &table).expect_err("stopped").to_string();
    assert!(stopped.contains("column 'a' is now 'b'") && stopped.contains("'evolve.rename' is stop"), "{stopped}");
    // A chain keeps all names.
    let apply = rule(|rule| rule.evolve.rename = Policy::Apply);
    let mut table = existing(&[("id", "Int64"), ("b", "Int32")], &["id"]);
    table.columns[1].comment = names::column_comment(&["a".to_owned()]);
    let chain = evolve_newest(&apply, &[column("id", "Int64", None), renamed("c", "Int32", "b")], &table).expect("evolved");
    assert!(chain.statements[0].contains("was [\"a\",\"b\"]"), "{chain:?}");
}

#[test]
fn a_column_that_went_is_dropped_only_if_the_consumer_made_it_and_never_comes_back_with_older_records() {
    let apply = rule(|rule| rule.evolve.drop = Policy::Apply);
    let (older, newest) = ([column("id", "Int64", None), column("a", "Int32", None)], [column("id", "Int64", None)]);
    let mut table = existing(&[("id", "Int64"), ("a", "Int32"), ("mine", "Int32")], &["id"]);
    table.columns[2].comment = "of the user".to_owned();
    let evolved = evolve_newest(&apply, &newest, &table).expect("evolved");
    assert_eq!(evolved.statements, ["ALTER TABLE `d`.`t` DROP COLUMN IF EXISTS `a`"]);
    assert_eq!(evolve_older(&apply, &older, &newest, &table), Ok(Evolved::default()), "older records are still loaded into it");
    let without = existing(&[("id", "Int64")], &["id"]);
    let skipped = evolve_older(&apply, &older, &newest, &without).expect("evolved");
    assert!(skipped.statements.is_empty() && skipped.adaptation.skip.iter().eq(&key(&["a"])), "{skipped:?}");
    assert_eq!(evolve_newest(&TableRule::default(), &newest, &table), Ok(Evolved::default()), "keep is the default");
    let stop = rule(|rule| rule.evolve.drop = Policy::Stop);
    let stopped = evolve_newest(&stop, &newest, &table).expect_err("stopped").to_string();
    assert!(stopped.contains("'a' is no more") && stopped.contains("'evolve.drop' is stop"), "{stopped}");
    assert_eq!(evolve_older(&stop, &newest, &older, &table), Ok(Evolved::default()), "an older record lacks what came later");
    // A schema that came while an older one's column was added: it goes again.
    let key = key(&["id"]);
    let (added, newest) = ([Arc::from("a")], Some(Newest { is_records: false, columns: &newest }));
    let again = evolve(&Wanted { newest, added: &added, ..wanted(Mode::Mirror, &apply, &older, &key) }, &table).expect("evolved");
    assert_eq!(again.statements, ["ALTER TABLE `d`.`t` DROP COLUMN IF EXISTS `a`"]);
}

#[test]
fn a_foreign_table_is_refused_with_the_reason() {
    let columns = [column("id", "Int64", None)];
    let mut other = existing(&[("id", "Int64")], &["id"]);
    other.comment = comment("p.e.t");
    assert!(matches!(alter(&columns, &other), Err(Mismatch::OtherTopic { topic }) if topic == "p.e.t"));
    for engine in ["MergeTree", "Distributed", "Buffer", "Null", "View", "Kafka", "CollapsingMergeTree"] {
        let mut plain = existing(&[("id", "Int64")], &["id"]);
        (plain.engine, plain.engine_full) = (engine.to_owned(), format!("{engine} ORDER BY id"));
        match alter(&columns, &plain) {
            Err(Mismatch::Engine { engine: found, why, .. }) => assert!(found == engine && !why.is_empty(), "{engine}"),
            other => panic!("{engine}: {other:?}"),
        }
    }
    assert!(matches!(alter(&columns, &existing(&[("id", "Int64"), ("at", "Date32")], &["at"])), Err(Mismatch::Order { .. })));
    let mut by_function = existing(&[("id", "Int64")], &["id"]);
    by_function.sorting_key = "intDiv(id, 10)".to_owned();
    assert!(matches!(alter(&columns, &by_function), Err(Mismatch::Order { .. })), "rows of other keys would replace each other");
    let mut parted = existing(&[("id", "Int64"), ("at", "Date32")], &["id"]);
    parted.columns[1].in_partition_key = true;
    assert!(matches!(alter(&columns, &parted), Err(Mismatch::Partition { column, .. }) if column == "at"));
    assert!(matches!(alter(&columns, &existing(&[("id", "Int32")], &["id"])), Err(Mismatch::Type { .. })), "a key's type can't be altered");
    for engine in ["ReplicatedReplacingMergeTree('/x', 'r', _version, _deleted)", "SharedReplacingMergeTree('/x', 'r', _version, _deleted)"]
    {
        let mut replicated = existing(&[("id", "Int64")], &["id"]);
        (replicated.engine, replicated.engine_full) =
            (engine.split('(').next().expect("a name").to_owned(), format!("{engine} ORDER BY id"));
        assert_eq!(alter(&columns, &replicated), Ok(vec![]), "{engine}");
    }
}

#[test]
fn a_table_gets_the_settings_that_its_mode_rests_on() {
    let columns = [column("id", "Int64", None)];
    let table = |engine: &str, settings: &str| {
        let own = Mode::Append.own_columns().iter().map(|(name, of)| ((*name).to_owned(), of.to_string()));
        let columns = [("id".to_owned(), "Int64".to_owned())].into_iter().chain(own);
        Existing {
            engine: engine.to_owned(),
            engine_full: format!("{engine} ORDER BY tuple(){settings}"),
            columns: columns.map(|(name, of)| ExistingColumn { name, of, ..ExistingColumn::default() }).collect(),
            ..Existing::default()
        }
    };
    let statements = |engine: &str, settings: &str| {
        let rule = TableRule::default();
        evolve(&wanted(Mode::Append, &rule, &columns, &[]), &table(engine, settings)).expect("fits").statements
    };
    let set = |name: &str| vec![format!("ALTER TABLE `d`.`t` MODIFY SETTING {name} = 1000")];
    assert_eq!(statements("MergeTree", " SETTINGS index_granularity = 8192"), set(WINDOW_SETTINGS[0]));
    assert_eq!(
        statements("MergeTree", " SETTINGS non_replicated_deduplication_window = 0, index_granularity = 8192"),
        set(WINDOW_SETTINGS[0])
    );
    assert!(statements("MergeTree", " SETTINGS index_granularity = 8192, non_replicated_deduplication_window = 100").is_empty());
    assert!(statements("ReplicatedMergeTree", " SETTINGS index_granularity = 8192").is_empty());
    assert_eq!(statements("SharedMergeTree", " SETTINGS replicated_deduplication_window = 0"), set(WINDOW_SETTINGS[1]));
    let clean = rule(|rule| rule.cleanup_interval = Some(std::time::Duration::from_secs(60)));
    let mirror = evolve_newest(&clean, &columns, &existing(&[("id", "Int64")], &["id"])).expect("fits");
    assert_eq!(mirror.statements, [format!("ALTER TABLE `d`.`t` MODIFY SETTING {CLEANUP_SETTING} = 1")]);
}

#[test]
fn a_view_shows_what_the_table_has_but_for_the_consumers_own_columns() {
    let columns = [column("id", "Int64", None)];
    let (rule, key) = (TableRule::default(), key(&["id"]));
    let wanted = wanted(Mode::Mirror, &rule, &columns, &key);
    let mut table = existing(&[("id", "Int64"), ("na`me", "String"), ("sum", "Int64")], &["id"]);
    table.columns[2].default_kind = "ALIAS".to_owned();
    assert_eq!(
        create_view(&wanted, "t_current", &table),
        "CREATE VIEW IF NOT EXISTS `d`.`t_current` AS SELECT `id`, `na\\`me` FROM `d`.`t` FINAL \
         COMMENT 'Millrace: present rows of topic p.d.t'"
    );
    let shown = |name: &str, of: &str| ExistingColumn { name: name.to_owned(), of: of.to_owned(), ..ExistingColumn::default() };
    let mut view = Existing {
        engine: "View".to_owned(),
        comment: names::view_comment("p.d.t"),
        columns: vec![shown("id", "Int64"), shown("na`me", "String")],
        ..Existing::default()
    };
    assert_eq!(view_is_current(&wanted, "t_current", &view, &table), Ok(true));
    view.columns[0].of = "Int32".to_owned();
    assert_eq!(view_is_current(&wanted, "t_current", &view, &table), Ok(false));
    for (engine, comment) in [
        ("View", "mine"),
        ("View", ""),
        ("MergeTree", "Millrace: present rows of topic p.d.t"),
        ("View", "Millrace: present rows of topic p.d.x"),
    ] {
        (view.engine, view.comment) = (engine.to_owned(), comment.to_owned());
        assert!(matches!(view_is_current(&wanted, "t_current", &view, &table), Err(Mismatch::View { .. })), "{engine} {comment}");
    }
}
