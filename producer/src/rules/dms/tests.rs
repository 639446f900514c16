//! DMS's files, as they are exported and as they can be wrong.

use serde_json::json;

use super::*;
use crate::rules::model::{Filter, Test};

const EVERY_ACTION: &str = include_str!("../../../tests/fixtures/table-mappings.json");

/// The errors of one rule, without what says which it is.
fn errors(rule: Value) -> Vec<String> {
    let selection = json!({"rule-type": "selection", "rule-id": 900, "object-locator": {"schema-name": "a", "table-name": "b"}, "rule-action": "include"});
    import(&json!({"rules": [selection, rule]}).to_string()).errors
}

fn transformation(action: &str, target: &str, more: Value) -> Value {
    let mut rule = json!({
        "rule-type": "transformation", "rule-id": "7", "rule-name": "mine", "rule-target": target, "rule-action": action,
        "object-locator": {"schema-name": "a", "table-name": "b"}, "filters": [],
    });
    for (key, value) in more.as_object().expect("an object") {
        rule[key] = value.clone();
    }
    rule
}

#[test]
fn a_file_with_every_action_is_imported_and_what_is_not_honoured_is_named() {
    let imported = import(EVERY_ACTION);
    assert_eq!(imported.errors, Vec::<String>::new());
    assert_eq!(
        imported.warnings,
        [
            "rule 4 of rules_file \"filtered\": object-locator.table-type: views have no changes of their own and aren't read; tables are",
            "rule 4 of rules_file \"filtered\": load-order: tables are read side by side, and their changes are followed from the beginning",
            "rule 37 of rules_file: expression: texts compare by their column's collation, as MySQL's do; SQLite compares their bytes",
            "rule 41 of rules_file \"unique\": primary-key-def.origin unique-index: ClickHouse has no unique indexes; the record key stays as it is",
            "rule 53 of rules_file \"space\": rule-target table-tablespace: neither MySQL's tables nor ClickHouse's are in tablespaces that are named here",
            "rule 60 of rules_file \"parallel\": parallel-load: large tables are always read in parallel, by ranges of their key (snapshot.workers, snapshot.chunk_rows)",
            "rule 60 of rules_file \"parallel\": lob-settings: large objects are always read whole",
            "rule 61 of rules_file \"tags\": rule-type post-processing: tags objects in S3, of which there are none here",
        ]
    );
    let ids: Vec<u64> = imported.rules.iter().map(|rule| rule.label.id).collect();
    assert_eq!(ids, [1, 2, 3, 4, 10, 11, 12, 20, 21, 22, 23, 24, 30, 31, 32, 33, 34, 35, 36, 37, 38, 40, 42, 50, 51, 52]);
    let Action::Include(Some(Rows::Filters(filters))) = &imported.rules[3].action else { panic!("{:?}", imported.rules[3]) };
    let own = |text: &str| text.to_owned();
    assert_eq!(
        filters[0],
        Filter {
            column: own("id"),
            conditions: vec![Test::AtMost(own("100")), Test::Between(own("200"), own("300")), Test::AtLeast(own("1000"))]
        }
    );
    assert_eq!(filters[1].conditions, [Test::NotEqual(own("")), Test::Equal(own("it's")), Test::Null]);
    assert_eq!(filters[2].conditions, [Test::NotBetween(own("2020-01-01"), own("2020-12-31")), Test::NotNull]);
}

#[test]
fn a_task_as_the_command_line_shows_it_is_understood() {
    let mappings = json!({"rules": [{"rule-type": "selection", "rule-id": "1", "object-locator": {"schema-name": "a", "table-name": "%"}, "rule-action": "include"}]});
    let tasks = json!({"ReplicationTasks": [{"TableMappings": mappings.to_string(), "Status": "stopped"}]});
    for text in [mappings.to_string(), json!({"TableMappings": mappings}).to_string(), tasks.to_string()] {
        let imported = import(&text);
        assert_eq!((imported.errors.len(), imported.rules.len()), (0, 1), "{text}");
    }
    for (text, expected) in [
        ("{", "isn't JSON"),
        ("{}", "no list \"rules\""),
        ("{\"rules\": []}", "no selection rule"),
        ("{\"ReplicationTasks\": [{}, {}]}", "has 2 replication tasks"),
        ("{\"TableMappings\": \"x\"}", "TableMappings that aren't JSON"),
        ("{\"rules\": [1]}", "isn't an object"),
    ] {
        let errors = import(text).errors.join("; ");
        assert!(errors.contains(expected), "{errors}");
    }
}

#[test]
fn what_cannot_be_honoured_prevents_the_start_and_is_named() {
    let column = |action: &str, mut more: Value| {
        let all_columns = !matches!(action, "remove-column" | "add-column" | "add-before-image-columns");
        if all_columns {
            more["object-locator"] = json!({"schema-name": "a", "table-name": "b", "column-name": "%"});
        }
        transformation(action, "column", more)
    };
    let filter = |condition: Value| {
        json!({"rule-type": "selection", "rule-id": "7", "rule-action": "include", "object-locator": {"schema-name": "a", "table-name": "b"},
            "filters": [{"filter-type": "source", "column-name": "c", "filter-conditions": [condition]}]})
    };
    let selection = |action: &str, table: &str, more: Value| {
        let mut rule = json!({"rule-type": "selection", "rule-id": "7", "rule-action": action, "object-locator": {"schema-name": "a", "table-name": table}});
        for (key, value) in more.as_object().expect("an object") {
            rule[key] = value.clone();
        }
        rule
    };
    let source_filter = json!([{"filter-type": "source", "column-name": "c", "filter-conditions": [{"filter-operator": "null"}]}]);
    for (rule, part, why) in [
        (json!({"rule-type": "object-mapping", "rule-id": "7"}), "rule-type object-mapping", "route"),
        (json!({"rule-type": "x", "rule-id": "7"}), "rule-type", "isn't known"),
        (selection("include", "b[", json!({})), "object-locator.table-name", "without its ]"),
        (selection("take", "b", json!({})), "rule-action", "isn't known"),
        (selection("explicit", "b%", json!({})), "object-locator", "without wildcards"),
        (selection("explicit", "b", json!({"filters": source_filter})), "filters", "count only with include"),
        (selection("include", "b", json!({"surprise": 1})), "surprise", "isn't known of such a rule"),
        (
            selection("include", "b", json!({"object-locator": {"schema-name": "a", "table-name": "b", "table-type": "view"}})),
            "object-locator.table-type",
            "views",
        ),
        (selection("include", "b", json!({"object-locator": {"table-name": "b"}})), "object-locator.schema-name", "is missing"),
        (filter(json!({"filter-operator": "like", "value": "x"})), "filters[1].filter-conditions[1].filter-operator", "isn't known"),
        (filter(json!({"filter-operator": "eq"})), "filters[1].filter-conditions[1].value", "is missing"),
        (filter(json!({"filter-operator": "between", "start-value": "1"})), "filters[1].filter-conditions[1].end-value", "is missing"),
        (filter(json!({"filter-operator": "null", "value": "1"})), "filters[1].filter-conditions[1].value", "isn't known here"),
        (transformation("rename", "table", json!({})), "value", "is missing"),
        (transformation("replace-prefix", "table", json!({"value": "x"})), "old-value", "is missing"),
        (transformation("rename", "database", json!({"value": "x"})), "rule-target", "isn't known"),
        (transformation("rename", "table", json!({"value": "x", "filters": source_filter})), "filters", "belong to selection rules"),
        (transformation("remove-column", "table", json!({})), "rule-target", "isn't for it"),
        (transformation("define-primary-key", "column", json!({})), "rule-target", "isn't for it"),
        (transformation("renam", "table", json!({})), "rule-action", "isn't known of transformation rules"),
        (
            transformation("define-primary-key", "table", json!({"primary-key-def": {"name": "x", "columns": []}})),
            "primary-key-def.columns",
            "no column",
        ),
        (transformation("define-primary-key", "table", json!({})), "primary-key-def", "is missing"),
        (column("remove-column", json!({})), "object-locator.column-name", "is missing"),
        (column("polish", json!({})), "rule-action", "isn't known"),
        (column("add-column", json!({"value": "x"})), "data-type", "is missing"),
        (column("add-column", json!({"value": "x", "expression": "$a", "data-type": {"type": "map"}})), "data-type", "can make"),
        (column("change-data-type", json!({"data-type": {"type": "int4", "size": 3}})), "data-type.size", "isn't known"),
        (
            column("change-data-type", json!({"data-type": {"type": "int4"}, "expression": "$a"})),
            "expression",
            "isn't known of such a rule",
        ),
        (column("data-masking-digits-mask", json!({"value": "##"})), "value", "one printable ASCII"),
        (column("add-before-image-columns", json!({})), "before-image-def", "is missing"),
        (
            column("add-before-image-columns", json!({"before-image-def": {"column-filter": "some"}})),
            "before-image-def.column-filter",
            "isn't known",
        ),
        (
            column("add-before-image-columns", json!({"before-image-def": {"column-prefix": "", "column-suffix": ""}})),
            "before-image-def",
            "neither",
        ),
        (
            column("add-column", json!({"value": "x", "expression": "$AR_H_OPERATION", "data-type": {"type": "string"}})),
            "expression",
            "field op",
        ),
    ] {
        let errors = errors(rule.clone());
        let expected = format!("rule 7 of rules_file{}: {part}: ", if rule.get("rule-name").is_some() { " \"mine\"" } else { "" });
        assert!(errors.len() == 1 && errors[0].starts_with(&expected) && errors[0].contains(why), "{rule}\n{errors:?}\n{expected} {why}");
    }
    for rule in [json!({"rule-type": "selection"}), json!({"rule-type": "selection", "rule-id": "one"})] {
        assert_eq!(errors(rule), ["a rule of rules_file without a rule-id that is a number: rule-id: must be a whole number"]);
    }
    let rename = transformation("rename", "table", json!({"value": "x", "rule-id": 900}));
    assert_eq!(errors(rename), ["rule 900 of rules_file: rule-id: another rule has it too"]);
}

#[test]
fn an_expression_is_translated_or_refused_by_its_name() {
    for (written, expected) in [
        ("$FIRST||'_'||$LAST", "CONCAT(`FIRST`, '_', `LAST`)"),
        ("${ITEM-NAME} || \"other`col\"", "CONCAT(`ITEM-NAME`, `other``col`)"),
        ("'it''s ${x} \\'", "'it''s ${x} \\\\'"),
        ("hash_sha256($a)", "SHA2(`a`, 256)"),
        ("substr($a, 2)", "SUBSTRING(`a`, 2)"),
        ("substr($a,2,3)", "SUBSTRING(`a`, 2, 3)"),
        ("lower($a)||upper($b)", "CONCAT(LOWER(`a`), UPPER(`b`))"),
        ("coalesce($a, $b, 'x')", "COALESCE(`a`, `b`, 'x')"),
        ("ifnull($a,0)", "IFNULL(`a`, 0)"),
        ("length($a) + 1", "CHAR_LENGTH(`a`) + 1"),
        ("($a + 2) * 3 - 4", "((`a` + 2) * 3) - 4"),
        ("iif($a > 5, 'x', NULL)", "IF(`a` > 5, 'x', NULL)"),
        (
            "CASE WHEN $a IS NULL THEN 'n' WHEN $b BETWEEN 1 AND 5 THEN 's' ELSE 'l' END",
            "CASE WHEN (`a`) IS NULL THEN 'n' WHEN `b` BETWEEN 1 AND 5 THEN 's' ELSE 'l' END",
        ),
        ("CASE $a WHEN 1 THEN 'x' END", "CASE `a` WHEN 1 THEN 'x' END"),
        ("$a = 1 AND ($b <> 2 OR NOT $c IN (1, 2))", "(`a` = 1) AND ((`b` <> 2) OR (NOT (`c` IN (1, 2))))"),
        ("CAST($a AS TEXT)", "CAST(`a` AS CHAR)"),
        ("$AR_M_SOURCE_SCHEMA || '.' || $AR_M_SOURCE_TABLE_NAME", "CONCAT(@source_database, '.', @source_table)"),
        ("-5.50", "-5.50"),
    ] {
        let translated = expression::translate(written).unwrap_or_else(|error| panic!("{written}: {error}"));
        assert_eq!(translated.sql, expected, "{written}");
    }
    for (written, why) in [
        ("operation_indicator('D','U','I')", "operation_indicator"),
        ("$AR_H_COMMIT_TIMESTAMP", "source.ts_us"),
        ("$AR_H_USER", "AR_H_USER"),
        ("$AR_M_SOURCE_COLUMN_NAME", "AR_M_SOURCE_COLUMN_NAME"),
        ("$BI__a", "add-before-image-columns"),
        ("datetime('now')", "datetime"),
        ("strftime('%Y', $a)", "strftime"),
        ("random()", "random"),
        ("source_lookup(1, 'a', 'b', 'c', 'd', $e)", "source_lookup"),
        ("trim($a)", "TRIM"),
        ("substr($a, 0)", "substr"),
        ("substr($a, -2)", "substr"),
        ("substr($a, $b)", "substr"),
        ("$a LIKE 'x%'", "LIKE"),
        ("$a / 2", "/"),
        ("$a || $b * 2", "parentheses"),
        ("$a * $b || 'x'", "parentheses"),
        ("CAST($a AS INTEGER)", "CAST"),
        ("first_name", "$first_name"),
        ("(SELECT 1)", "isn't of the language"),
        ("$a, $b", "from , on"),
        ("'open", "can't be read"),
        ("", "can't be read"),
        ("${a", "without its }"),
        ("?1", "column"),
    ] {
        let error = expression::translate(written).map(|translated| translated.sql).unwrap_err();
        assert!(error.contains(why), "{written}: {error}");
    }
}
