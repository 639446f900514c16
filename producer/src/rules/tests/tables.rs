//! What becomes of a table: names, columns, key, filter; and what can't be.

use super::*;
use crate::expression::Expression;

fn names(output: &Output) -> Vec<&str> {
    output.shape.columns.iter().map(|column| column.name.as_str()).collect()
}

#[test]
fn a_table_that_no_rule_changes_goes_as_it_is() {
    for yaml in [
        "  - { action: include }\n",
        "  - { action: hash, table: other, column: \"%\" }\n",
        "  - { action: convert-lowercase, target: table }\n",
        "  - { action: replace-prefix, target: column, old_value: x_, value: y_ }\n",
        "  - { action: change-data-type, table: customers, column: level, type: INT }\n",
    ] {
        assert!(outputs(&rules(yaml), &customers()).unwrap().is_empty(), "{yaml}");
    }
}

#[test]
fn several_changes_of_a_name_apply_one_after_the_other() {
    let output = output(
        "  - { action: rename, target: schema, database: shop, value: \"{database}_{table}\" }
  - { action: convert-uppercase, target: schema }
  - { action: add-prefix, table: customers, value: x_ }
  - { action: replace-suffix, table: customers, old_value: ers, value: er }
  - { action: rename, table: customers, column: NAME, value: FullName }
  - { action: convert-lowercase, table: customers, target: column }
  - { action: add-suffix, table: customers, target: column, data_type: date, value: _on }
",
        &customers(),
    );
    assert_eq!((output.shape.database.as_str(), output.shape.table.as_str()), ("SHOP_CUSTOMERS", "x_customer"));
    assert_eq!(names(&output), ["id", "fullname", "email", "ssn", "balance", "level", "born_on", "photo"]);
    assert_eq!(output.shape.columns[5].default, customers().columns[5].default, "a renamed column keeps its default");
    assert_eq!(output.shape.key, [0]);
}

#[test]
fn columns_are_chosen_removed_and_added() {
    let output = output(
        "  - { action: include-column, table: customers, column: id }
  - { action: include-column, table: customers, column: \"_a%\" }
  - { action: include-column, table: customers, column: email }
  - { action: remove-column, table: customers, column: balance }
  - { action: add-column, table: customers, value: note, type: VARCHAR(9) }
  - { action: add-column, table: customers, value: from, expression: \"@source_table\" }
",
        &customers(),
    );
    assert_eq!(names(&output), ["id", "Name", "email", "note", "from"]);
    assert!(output.shape.columns[3].nullable && !output.shape.columns[4].nullable);
}

#[test]
fn a_key_is_defined_by_names_of_the_source_or_of_the_output() {
    let base = "  - { action: rename, table: customers, column: ssn, value: number }\n";
    for key in ["[level, ssn]", "[LEVEL, number]"] {
        let output = output(&format!("{base}  - {{ action: define-primary-key, table: customers, key: {key} }}\n"), &customers());
        assert_eq!(output.shape.key, [5, 3]);
    }
}

#[test]
fn a_key_that_would_lose_rows_is_refused() {
    for (yaml, expected) in [
        ("{ action: remove-column, column: id }", "column id of the record key is left out"),
        ("{ action: include-column, column: email }", "column id of the record key is left out"),
        ("{ action: digits-randomise, column: id }", "column id: it is of the record key"),
        ("{ action: digits-mask, column: id }", "column id: it is of the record key"),
        ("{ action: constant, column: id, value: \"5\" }", "column id: it is of the record key"),
        ("{ action: redact, column: id }", "column id: it is of the record key"),
        ("{ action: change-data-type, column: id, type: DOUBLE }", "column id: it is of the record key"),
        ("{ action: define-primary-key, key: [email] }", "column email of the record key can be NULL"),
        ("{ action: define-primary-key, key: [nothing] }", "the table has no column nothing"),
        ("{ action: define-primary-key, key: [id, ID] }", "is there twice"),
    ] {
        let error = refused(&format!("  - {yaml}\n"), &customers());
        assert!(error.starts_with("rule") || error.starts_with("the rules"), "{error}");
        assert!(error.contains("table shop.customers") && error.contains(expected), "{yaml}: {error}");
    }
    let hashed = output("  - { action: hash, column: id }\n", &customers());
    assert_eq!(hashed.shape.columns[0].kind, types::varchar(64));
    let other = output("  - { action: remove-column, column: id }\n  - { action: define-primary-key, key: [ssn] }\n", &customers());
    assert_eq!(other.shape.key, [2]);
}

#[test]
fn what_no_column_can_be_is_refused() {
    for (yaml, expected) in [
        ("{ action: change-data-type, column: born, type: INT }", "rule 1, for table shop.customers: column born: DATE can't become INT"),
        ("{ action: digits-randomise, column: born }", "random digits aren't a DATE"),
        ("{ action: digits-mask, column: photo }", "BLOB has no digits"),
        ("{ action: truncate, column: level, length: 2 }", "only text and bytes can be cut"),
        ("{ action: constant, column: level, value: many }", "isn't a whole number"),
        ("{ action: rename, column: email, value: id }", "two columns of the name id"),
        ("{ action: remove-prefix, column: email, value: email }", "a column without a name"),
        ("{ action: remove-prefix, table: customers, value: customers }", "or no name"),
        ("{ action: add-column, value: x, expression: \"no_such\" }", "no_such"),
        ("{ action: filter, where: \"no_such = 1\" }", "no_such"),
        ("{ action: filter, where: \"`Name`\" }", "rule 1, for table shop.customers"),
    ] {
        let error = refused(&format!("  - {yaml}\n"), &customers());
        assert!(error.contains(expected), "{yaml}: {error}");
    }
}

#[test]
fn all_conditions_of_a_table_hold_together() {
    let output = output(
        "  - { action: include, database: shop }
  - { action: include, table: customers, where: \"id > 5\" }
  - { action: filter, table: \"%\", where: \"level = 1 OR level = 2 -- or so\" }
",
        &customers(),
    );
    let row = |id: u8, level: i32| {
        let text = |text: &str| Value::String(text.to_owned());
        let null = || Value::Union(0, Box::new(Value::Null));
        let values =
            [Value::Decimal(apache_avro::Decimal::from(vec![id])), text("n"), null(), text("s"), null(), Value::Int(level), null(), null()];
        Row::new(&customers(), SchemaOptions::default(), &values)
    };
    let holds =
        |filter: &Expression, row: &Row| filter.is_true(row.view(), Context { database: "shop", table: "customers" }, &NoServer).unwrap();
    let filter = output.filter.as_ref().unwrap();
    assert!(holds(filter, &row(6, 2)) && !holds(filter, &row(5, 2)) && !holds(filter, &row(6, 3)));
    let twice = "  - { action: include, table: customers, where: \"id > 5\" }\n  - { action: include, table: \"c%\", where: \"id < 9\", name: other }\n";
    let error = refused(twice, &customers());
    assert!(error.contains("rule 2 \"other\"") && error.contains("rule 1 selects rows of this table too"), "{error}");
}

#[test]
fn one_table_goes_to_several_outputs_each_with_its_own_rules() {
    let rules = rules(
        "  - { action: route, name: public, table: customers, value: \"public.{table}\", where: \"level < 5\" }
  - { action: route, name: full, table: customers, value: \"{database}.{table}\" }
  - { action: remove-column, output: public, table: customers, column: ssn }
  - { action: add-suffix, output: public, table: customers, value: _masked }
  - { action: remove-column, table: customers, column: photo }
",
    );
    let outputs = outputs(&rules, &customers()).unwrap();
    assert_eq!(outputs.len(), 2);
    assert_eq!(
        (outputs[0].preview.topic("p"), outputs[1].preview.topic("p")),
        ("p.public.customers_masked".to_owned(), "p.shop.customers".to_owned())
    );
    assert_eq!((outputs[0].shape.columns.len(), outputs[1].shape.columns.len()), (6, 7));
    assert!(outputs[0].filter.is_some() && outputs[1].filter.is_none());
    let same = "  - { action: route, table: customers, value: a.b }\n  - { action: route, table: customers, value: a.b }\n";
    assert!(refused(same, &customers()).contains("another route of this table has the same name, a.b"));
}

#[test]
fn shards_share_a_topic_with_a_column_that_is_part_of_the_key() {
    let yaml = "  - { action: route, table: \"orders[_]__\", value: shop.orders, source_column: shard }\n";
    let orders = |table: &str, of: &str| shape(table, &[("id", of), ("total", "DECIMAL(10,2)")], &[0]);
    let [a, b, c] =
        [("orders_00", "INT"), ("orders_63", "INT"), ("orders_64", "BIGINT")].map(|(table, of)| output(yaml, &orders(table, of)));
    assert_eq!((names(&a), a.shape.key.as_slice()), (vec!["id", "total", "shard"], [0, 2].as_slice()));
    assert_eq!(a.conflict(&b), None);
    assert_eq!(a.conflict(&c).unwrap(), "column id is INT NOT NULL in one and BIGINT NOT NULL in the other");
    let other = output("  - { action: route, table: x, value: shop.orders }\n", &shape("x", &[("id", "INT")], &[0]));
    assert!(a.conflict(&other).unwrap().contains("one has the columns id, total, shard, the other id"));
    assert_eq!((a.source_column(), other.source_column()), (Some(2), None));
    let masked = format!("{yaml}  - {{ action: constant, table: \"orders[_]00\", column: shard, value: all }}\n");
    assert_eq!(output(&masked, &shape("orders_00", &[("id", "INT")], &[])).source_column(), None, "it no longer tells whose a row is");
    let without = output(yaml, &shape("orders_01", &[("id", "INT")], &[]));
    assert!(without.shape.key.is_empty(), "a table without a key gets none");
}

#[test]
fn columns_with_the_value_before_are_masked_as_the_column_is() {
    let output = output(
        "  - { action: add-before-image-columns, table: customers, columns: non-lob, prefix: old_ }
  - { action: hash, table: customers, column: email }
  - { action: rename, table: customers, column: old_level, value: level_before }
  - { action: redact, table: customers, column: old_ssn }
",
        &customers(),
    );
    assert_eq!(
        names(&output),
        [
            "id",
            "Name",
            "email",
            "ssn",
            "balance",
            "level",
            "born",
            "photo",
            "old_id",
            "old_Name",
            "old_email",
            "old_ssn",
            "old_balance",
            "level_before",
            "old_born"
        ]
    );
    let hashed_once = super::output(
        "  - { action: add-before-image-columns, table: customers, columns: all }
  - { action: hash, table: customers, column: \"%\", data_type: VARCHAR }
  - { action: remove-column, table: customers, column: ssn }
",
        &customers(),
    );
    let words =
        |name: &str| hashed_once.preview.columns.iter().find(|column| column.name.as_deref() == Some(name)).map(|column| column.what.len());
    assert_eq!((words("email"), words("BI_email"), words("BI_ssn")), (Some(1), Some(2), None));
    let of = |name: &str| output.shape.columns.iter().find(|column| column.name == name).unwrap();
    assert_eq!((&of("old_email").kind, &of("old_id").kind), (&types::varchar(64), &of("id").kind));
    assert!(output.shape.columns[8..].iter().all(|column| column.nullable && column.default.is_none()));
}

#[test]
fn an_expression_that_reads_a_masked_column_is_told_and_so_is_a_column_that_is_not_there() {
    let output = output(
        "  - { action: hash, table: customers, column: email, name: mask }
  - { action: add-column, table: customers, value: copy, expression: \"email\" }
  - { action: redact, table: customers, column: mail }
",
        &customers(),
    );
    assert_eq!(
        output.warnings,
        [
            "rule 3: the table has no such column mail",
            "the expression of column copy reads column email as the source has it; rule 1 \"mask\" masks it only where it stands itself",
        ]
    );
}

#[test]
fn the_preview_shows_what_happens() {
    let rules = rules(
        "  - { action: route, name: public, table: customers, value: \"public.{table}\", source_column: origin, where: \"level < 5\" }
  - { action: rename, table: customers, column: Name, value: name }
  - { action: hash, table: customers, column: email }
  - { action: digits-mask, table: customers, column: ssn }
  - { action: truncate, table: customers, column: ssn, length: 4 }
  - { action: change-data-type, table: customers, column: balance, type: \"DECIMAL(20,4)\" }
  - { action: redact, table: customers, column: born }
  - { action: remove-column, table: customers, column: photo }
  - { action: add-column, table: customers, value: label, expression: \"CONCAT(`Name`, '!')\" }
",
    );
    let previews: Vec<Preview> = outputs(&rules, &customers()).unwrap().into_iter().map(|output| output.preview).collect();
    let expected = "\
SOURCE          TOPIC               COLUMN                            WHAT HAPPENS
shop.customers  p.public.customers                                    rows where level < 5
  Name                              name VARCHAR(20) NOT NULL         renamed
  email                             email VARCHAR(64)                 HMAC-SHA256
  ssn                               ssn CHAR(4) NOT NULL              digits as #, then first 4 characters
  balance                           balance DECIMAL(20,4)             DECIMAL(10,2) to DECIMAL(20,4)
  born                              born DATE                         redacted
  photo                             -                                 removed
  +                                 origin VARCHAR(129) NOT NULL, key  the source's database.table
";
    let table = preview::table(&previews, "p");
    for line in expected.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        assert!(table.lines().any(|shown| shown.split_whitespace().collect::<Vec<_>>() == words), "{line}\n{table}");
    }
    assert!(table.contains("CONCAT(`Name`, '!')") && table.contains("  2 columns"), "{table}");
    let json = previews[0].json("p");
    assert_eq!((&json["topic"], &json["rows"]), (&serde_json::json!("p.public.customers"), &serde_json::json!("level < 5")));
    assert_eq!(json["columns"][2]["what"], serde_json::json!(["HMAC-SHA256"]));
}

#[test]
fn the_file_with_every_action_makes_the_table_that_dms_would() {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/table-mappings.json");
    let rules = read(Source::text("p.yaml", &format!("rules_file: {}\nrules_salt: {SALT}", path.display())), Rules::read).unwrap();
    let shape = TableShape {
        database: "Shop".to_owned(),
        ..shape(
            "Customers",
            &[
                ("id", "BIGINT"),
                ("Name", "VARCHAR(20) NULL"),
                ("email", "VARCHAR(50) NULL"),
                ("ssn", "CHAR(11)"),
                ("phone", "VARCHAR(30)"),
                ("balance", "DECIMAL(10,2) NULL"),
                ("born", "DATE NULL"),
                ("photo", "BLOB NULL"),
            ],
            &[0],
        )
    };
    let outputs = outputs(&rules, &shape).unwrap();
    let output = &outputs[0];
    assert_eq!((output.shape.database.as_str(), output.shape.table.as_str()), ("store_db", "MR__x"));
    assert_eq!(names(output), ["id", "name", "email", "ssn", "phone", "balance", "born_on", "greeting", "kind", "last_updated", "BI_id"]);
    assert_eq!(
        output.preview.rows.as_deref().unwrap(),
        "(`id` <= 100 OR `id` BETWEEN 200 AND 300 OR `id` >= 1000) AND (`Name` <> '' OR `Name` = 'it''s' OR `Name` IS NULL) AND (`born` NOT BETWEEN '2020-01-01' AND '2020-12-31' OR `born` IS NOT NULL)"
    );
    let narrow = TableShape { database: "Shop".to_owned(), ..self::shape("Narrow", &[("id", "INT"), ("b", "INT")], &[0]) };
    assert_eq!(names(&self::outputs(&rules, &narrow).unwrap()[0]), ["id"]);
    let log = TableShape { database: "Shop".to_owned(), ..self::shape("Log", &[("id", "INT"), ("at", "DATETIME")], &[]) };
    assert_eq!(self::outputs(&rules, &log).unwrap()[0].shape.key, [1, 0]);
}
