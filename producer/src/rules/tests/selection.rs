//! Which tables, and what is wrong in the settings.

use super::*;

#[test]
fn explicit_goes_before_exclude_and_exclude_before_include() {
    let rules = rules(
        "  - { action: include, database: shop }
  - { action: exclude, database: shop, table: \"tmp[_]%\" }
  - { action: explicit, database: shop, table: tmp_keep }
",
    );
    for (database, table, expected) in [
        ("shop", "orders", true),
        ("shop", "tmp_1", false),
        ("shop", "tmp_keep", true),
        ("shop", "tmpx1", true),
        ("Shop", "orders", false),
        ("other", "t", false),
    ] {
        assert_eq!(rules.selects(database, table), expected, "{database}.{table}");
    }
    assert_eq!(rules.unmatched(&[("shop", "orders"), ("shop", "tmp_keep")]), Vec::<String>::new());
    assert_eq!(rules.unmatched(&[("shop", "orders")]).len(), 2);
}

#[test]
fn without_a_rule_that_includes_every_table_is_taken() {
    assert!(Rules::none().selects("a", "b") && Rules::none().is_empty());
    let excluding = rules("  - { action: exclude, table: audit }\n  - { action: hash, column: x }\n");
    assert!(excluding.selects("a", "b") && !excluding.selects("a", "audit"));
}

#[test]
fn rules_are_in_the_order_of_their_ids() {
    let rules = rules(
        "  - { action: add-suffix, table: customers, value: _2, id: 20 }\n  - { action: add-suffix, table: customers, value: _1, id: 3 }\n",
    );
    assert_eq!(outputs(&rules, &customers()).unwrap()[0].shape.table, "customers_1_2");
}

#[test]
fn what_is_wrong_in_the_settings_is_told() {
    for (yaml, expected) in [
        ("{ action: include, table: \"a*\" }", "\"rules[0].table\": % stands for any text"),
        ("{ action: include, table: \"a[\" }", "has a [ without its ]"),
        ("{ action: explicit, table: a }", "explicit takes one table"),
        ("{ action: filter, table: a }", "\"rules[0].where\": is needed by the action filter"),
        ("{ action: exclude, table: a, where: x }", "\"rules[0].where\": isn't for the action exclude"),
        ("{ action: hash, column: a, value: x }", "\"rules[0].value\": isn't for the action hash"),
        ("{ action: rename, table: a }", "\"rules[0].value\": is needed by the action rename"),
        ("{ action: rename, table: a, value: \"{tabel}\" }", "there are {database}, {table} and {column}"),
        ("{ action: rename, target: table, column: a, value: b }", "column and data_type say nothing"),
        ("{ action: replace-prefix, table: a, value: b }", "\"rules[0].old_value\": is needed"),
        ("{ action: route, table: a, value: orders }", "must be database.table"),
        ("{ action: add-column, table: a, value: b }", "needed by a column without an expression"),
        ("{ action: add-column, table: a, expression: b }", "\"rules[0].value\": is needed"),
        ("{ action: add-column, table: a, value: b, type: STRING }", "isn't a type that a rule can make"),
        ("{ action: change-data-type, column: a }", "\"rules[0].type\": is needed"),
        ("{ action: define-primary-key, table: a }", "\"rules[0].key\": is needed"),
        ("{ action: digits-mask, column: a, value: xx }", "one printable ASCII character"),
        ("{ action: truncate, column: a }", "\"rules[0].length\": is needed"),
        ("{ action: redact, table: a }", "\"rules[0].column\": is needed by the action redact; % stands for all"),
        ("{ action: hide, column: a }", "\"rules[0].action\" is \"hide\"; allowed"),
        ("{ action: hash, colum: a }", "unknown key \"colum\""),
        ("{ action: hash, column: a, output: b }", "no rule with the action route has this name"),
        ("{ action: hash, column: a, id: 2 }\n  - { action: hash, column: a }", "another rule has this id"),
    ] {
        let error = try_rules(&format!("  - {yaml}\n")).unwrap_err();
        assert!(error.contains(expected), "{yaml}: {error}");
    }
    for (yaml, expected) in [
        ("rules: [{action: hash, column: a}]", "\"rules_salt\": is needed by rule 1"),
        ("rules: [{action: digits-randomise, column: a, name: x}]", "\"rules_salt\": is needed by rule 1 \"x\""),
        ("rules_salt: short", "at least 16 bytes"),
        ("rules_file: /nowhere/x.json", "\"rules_file\": /nowhere/x.json can't be opened"),
    ] {
        let error = read(Source::text("p.yaml", yaml), Rules::read).map_err(|error| error.to_string()).map(|_| ()).unwrap_err();
        assert!(error.contains(expected), "{yaml}: {error}");
    }
}

#[test]
fn a_salt_is_never_shown() {
    assert!(!format!("{:?}", rules("  - { action: hash, column: a }\n")).contains(SALT));
}

#[test]
fn a_file_of_mappings_is_read_and_its_faults_are_told() {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/table-mappings.json");
    let yaml = format!("rules_file: {}\nrules_salt: {SALT}\nrules: [{{action: exclude, database: Shop, table: Log}}]", path.display());
    let rules = read(Source::text("p.yaml", &yaml), Rules::read).unwrap();
    assert_eq!(rules.not_honoured().len(), 8);
    assert!(
        rules.selects("Shop", "Customers")
            && rules.selects("Shop", "tmp_keep")
            && !rules.selects("Shop", "tmp_x")
            && !rules.selects("Shop", "Log")
    );
    let error = read(Source::text("p.yaml", &format!("rules_file: {}", path.display())), Rules::read).unwrap_err().to_string();
    assert!(error.contains("\"rules_salt\": is needed by rule 50 of rules_file"), "{error}");
    let file = tempfile_with(
        "{\"rules\": [{\"rule-type\": \"selection\", \"rule-id\": 1, \"rule-action\": \"take\", \"object-locator\": {\"schema-name\": \"a\", \"table-name\": \"b\"}}]}",
    );
    let error = read(Source::text("p.yaml", &format!("rules_file: {}", file.display())), Rules::read).unwrap_err().to_string();
    std::fs::remove_file(&file).unwrap();
    assert!(error.contains("rule 1 of rules_file: rule-action: \"take\" isn't known"), "{error}");
}

fn tempfile_with(text: &str) -> std::path::PathBuf {
    let path = std::env::temp_dir().join(format!("millrace-rules-{}.json", std::process::id()));
    std::fs::write(&path, text).unwrap();
    path
}

#[test]
fn tables_that_get_one_name_without_a_column_that_tells_them_apart_are_told() {
    for (yaml, told) in [
        ("{ action: route, table: \"orders[_]%\", value: shop.orders }", true),
        ("{ action: route, table: \"orders[_]%\", value: shop.orders, source_column: shard }", false),
        ("{ action: route, database: shop, table: orders, value: all.orders }", false),
        ("{ action: route, database: \"shop%\", table: orders, value: all.orders }", true),
        ("{ action: route, database: shop, table: \"%\", value: \"all.{table}\" }", false),
        ("{ action: rename, table: \"orders[_]%\", value: orders }", true),
        ("{ action: rename, target: schema, database: \"shop%\", value: shop }", true),
        ("{ action: rename, database: shop, table: orders, value: o }", false),
    ] {
        let rules = rules(&format!("  - {yaml}\n"));
        assert_eq!(rules.warnings().len(), usize::from(told), "{yaml} {:?}", rules.warnings());
    }
}
