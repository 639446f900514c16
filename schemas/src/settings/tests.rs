//! Tests of the reader through its public face: what is read, and each message word by word.

use std::time::Duration;

use proptest::prelude::*;
use secrecy::ExposeSecret;

use super::*;

const MINUTE: Duration = Duration::from_secs(60);

#[derive(Debug, Clone, Copy, PartialEq)]
enum Mode {
    Full,
    Cdc,
}

/// One key of each kind.
#[derive(Debug)]
struct Sample {
    host: String,
    port: u64,
    user: Option<String>,
    password: String,
    token: Option<String>,
    tables: Vec<String>,
    tls: bool,
    mode: Mode,
    flush: Duration,
    idle: Option<Duration>,
    batch: u64,
    kafka: Properties,
    routes: Vec<(String, u64)>,
}

fn sample(r: &mut Reader) -> Sample {
    let (host, port, user, password, token, tables, tls) = r.section("source", "The MySQL server.", |r| {
        (
            r.text("host", None, "Name or address."),
            r.integer("port", Some(3306), 1..=65_535, "", "TCP port."),
            r.text_opt("user", "User."),
            r.secret("password", None, "Password."),
            r.secret_opt("token", "Token | or so."),
            r.texts("tables", Some(&["*.*"]), "Patterns of tables."),
            r.boolean("tls", false, "Whether to encrypt."),
        )
    });
    let (mode, flush, idle, batch) = r.section("load", "Loading.", |r| {
        let choices = [("full-load", Mode::Full), ("cdc", Mode::Cdc)];
        (
            r.choice("mode", Some("cdc"), &choices, "What to do."),
            r.duration("flush_interval", Duration::from_secs(1), Duration::from_millis(10)..=MINUTE, "Age."),
            r.duration_opt("idle", Duration::from_secs(1)..=Duration::MAX, "Idle time."),
            r.bytes("batch_bytes", 16 << 20, 1..=(1 << 30), "Size of a batch."),
        )
    });
    let kafka = r.properties("kafka", "Passed to librdkafka.");
    let routes = r.sections("routes", "Where tables go.", |r| {
        let table = r.text("table", None, "Its name.");
        (table, r.integer("weight", Some(1), 0..=u64::MAX, "parts", "Its weight."))
    });
    Sample {
        host,
        port,
        user,
        password: password.expose_secret().to_owned(),
        token: token.map(|token| token.expose_secret().to_owned()),
        tables,
        tls,
        mode,
        flush,
        idle,
        batch,
        kafka,
        routes,
    }
}

const LEAST: &str = "source:\n  host: db\n  password: hunter2\n";

fn good(text: &str, environment: &[(&str, &str)]) -> Sample {
    let source = Source::text("m.yaml", text).with_environment(environment.iter().copied());
    read(source, sample).unwrap_or_else(|error| panic!("{text}\n{error}"))
}

fn problems(text: &str, environment: &[(&str, &str)]) -> Vec<String> {
    let source = Source::text("m.yaml", text).with_environment(environment.iter().copied());
    read(source, sample).expect_err(text).problems().to_vec()
}

/// The problems of a text that has what is required, with this added after it.
fn added(text: &str) -> Vec<String> {
    problems(&format!("{LEAST}{text}"), &[])
}

#[test]
fn defaults() {
    let sample = good(LEAST, &[]);
    assert_eq!((sample.host.as_str(), sample.port), ("db", 3306));
    assert_eq!(sample.password, "hunter2");
    assert_eq!((sample.user, sample.token, sample.idle), (None, None, None));
    assert_eq!(sample.tables, ["*.*"]);
    assert_eq!((sample.tls, sample.mode), (false, Mode::Cdc));
    assert_eq!((sample.flush, sample.batch), (Duration::from_secs(1), 16 << 20));
    assert!(sample.kafka.is_empty() && sample.routes.is_empty());
}

#[test]
fn every_kind_is_read() {
    let text = r#"
source: {host: db, port: 3_307, user: 42, password: "p: #x", token: t, tables: [shop.*, "a,b"], tls: true}
load:
  mode: full-load
  flush_interval: 250ms
  idle: 7d
  batch_bytes: 64KiB
kafka:
  bootstrap.servers: a:1,b:2
  queue: {buffering.max: {ms: 5}}
routes:
  - table: x
  - {table: y, weight: 3}
"#;
    let sample = good(text, &[]);
    assert_eq!((sample.port, sample.user.as_deref()), (3307, Some("42")));
    assert_eq!((sample.password.as_str(), sample.token.as_deref()), ("p: #x", Some("t")));
    assert_eq!(sample.tables, ["shop.*", "a,b"]);
    assert_eq!((sample.tls, sample.mode), (true, Mode::Full));
    assert_eq!(sample.flush, Duration::from_millis(250));
    assert_eq!(sample.idle, Some(Duration::from_secs(7 * 86_400)));
    assert_eq!(sample.batch, 64 << 10);
    let kafka: Vec<_> = sample.kafka.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
    assert_eq!(kafka, [("bootstrap.servers", "a:1,b:2"), ("queue.buffering.max.ms", "5")]);
    assert_eq!(sample.routes, [("x".to_owned(), 1), ("y".to_owned(), 3)]);
}

#[test]
fn a_single_text_is_a_list_of_one_and_is_not_split() {
    assert_eq!(good(&format!("{LEAST}  tables: a,b\n"), &[]).tables, ["a,b"]);
}

#[test]
fn a_key_without_a_value_is_not_given() {
    let text = format!("{LEAST}  port:\n  user: ~\n  tables: null\nload:\nkafka:\n");
    let sample = good(&text, &[]);
    assert_eq!((sample.port, sample.user, sample.tables), (3306, None, vec!["*.*".to_owned()]));
}

#[test]
fn quoted_null_is_a_text() {
    assert_eq!(good(&format!("{LEAST}  user: \"null\"\n"), &[]).user.as_deref(), Some("null"));
}

#[test]
fn none_and_unlimited_are_no_duration() {
    for word in ["none", "unlimited"] {
        assert_eq!(good(&format!("{LEAST}load: {{idle: {word}}}\n"), &[]).idle, None);
    }
}

#[test]
fn an_unknown_key_names_the_nearest() {
    assert_eq!(added("  tabels: [a]\n"), [r#"m.yaml:4: unknown key "tabels" in "source"; did you mean "tables"?"#]);
    assert_eq!(added("sorce: {}\n"), [r#"m.yaml:4: unknown key "sorce"; did you mean "source"?"#]);
    assert_eq!(
        added("load:\n  Flush-Interval: 1s\n"),
        [r#"m.yaml:5: unknown key "Flush-Interval" in "load"; did you mean "flush_interval"?"#]
    );
    assert_eq!(added("  pasword_file: /x\n"), [r#"m.yaml:4: unknown key "pasword_file" in "source"; did you mean "password_file"?"#]);
}

#[test]
fn an_unknown_key_that_another_level_has_names_that_level() {
    assert_eq!(added("host: x\n"), [r#"m.yaml:4: unknown key "host"; did you mean "source.host"?"#]);
    assert_eq!(added("load:\n  user: x\n"), [r#"m.yaml:5: unknown key "user" in "load"; did you mean "source.user"?"#]);
}

#[test]
fn an_unknown_key_like_no_other_lists_the_known_ones() {
    assert_eq!(added("zebra: 1\n"), [r#"m.yaml:4: unknown key "zebra"; known: source, load, kafka, routes"#]);
    assert_eq!(added("routes:\n  - table: a\n    zebra: 1\n"), [r#"m.yaml:6: unknown key "zebra" in "routes[0]"; known: table, weight"#]);
}

#[test]
fn a_missing_key_names_its_section_and_variable() {
    assert_eq!(
        problems("load: {}\nsource:\n  host: x\n", &[]),
        [r#"m.yaml:2: "source.password" is required; set it in the file or as MILLRACE__SOURCE__PASSWORD"#]
    );
    assert_eq!(
        problems("", &[]),
        [
            r#"m.yaml: "source.host" is required; set it in the file or as MILLRACE__SOURCE__HOST"#,
            r#"m.yaml: "source.password" is required; set it in the file or as MILLRACE__SOURCE__PASSWORD"#,
        ]
    );
    assert_eq!(added("routes:\n  - weight: 1\n"), [r#"m.yaml:5: "routes[0].table" is required"#]);
}

#[test]
fn a_required_text_must_not_be_empty() {
    assert_eq!(
        problems("source:\n  host: ''\n  password: ''\n", &[]),
        [r#"m.yaml:2: "source.host" must not be empty"#, r#"m.yaml:3: "source.password" must not be empty"#,]
    );
}

#[test]
fn an_empty_optional_text_is_not_given() {
    let sample = good(&format!("{LEAST}  user: ${{NOBODY:-}}\n  token: ''\n"), &[]);
    assert_eq!((sample.user, sample.token), (None, None));
}

#[test]
fn wrong_values_say_what_is_allowed() {
    let cases = [
        ("  port: abc\n", r#"m.yaml:4: "source.port" is "abc", not a whole number; allowed: 1 to 65535"#),
        ("  port: 70000\n", r#"m.yaml:4: "source.port" is 70000; allowed: 1 to 65535"#),
        ("  port: 0\n", r#"m.yaml:4: "source.port" is 0; allowed: 1 to 65535"#),
        ("  port: -1\n", r#"m.yaml:4: "source.port" is "-1", not a whole number; allowed: 1 to 65535"#),
        ("  port: 1e3\n", r#"m.yaml:4: "source.port" is "1e3", not a whole number; allowed: 1 to 65535"#),
        ("  port: 99999999999999999999\n", r#"m.yaml:4: "source.port" is 99999999999999999999; allowed: 1 to 65535"#),
        ("  tls: yes\n", r#"m.yaml:4: "source.tls" is "yes", not a truth value; allowed: "true", "false""#),
        ("load: {mode: ful-load}\n", r#"m.yaml:4: "load.mode" is "ful-load"; allowed: "full-load", "cdc"; did you mean "full-load"?"#),
        ("load: {mode: x}\n", r#"m.yaml:4: "load.mode" is "x"; allowed: "full-load", "cdc""#),
        (
            "load: {flush_interval: 10}\n",
            r#"m.yaml:4: "load.flush_interval" is "10", not a duration such as 250ms, 10s, 5m, 2h or 7d; allowed: 10ms to 1m"#,
        ),
        ("load: {flush_interval: 2h}\n", r#"m.yaml:4: "load.flush_interval" is 2h; allowed: 10ms to 1m"#),
        ("load: {idle: 0s}\n", r#"m.yaml:4: "load.idle" is 0s; allowed: at least 1s, or none"#),
        (
            "load: {batch_bytes: 1GB}\n",
            r#"m.yaml:4: "load.batch_bytes" is "1GB", not a size such as 64KiB, 16MiB or 1GiB; allowed: 1B to 1GiB"#,
        ),
        ("load: {batch_bytes: 2TiB}\n", r#"m.yaml:4: "load.batch_bytes" is 2TiB; allowed: 1B to 1GiB"#),
        ("routes: [{table: a, weight: b}]\n", r#"m.yaml:4: "routes[0].weight" is "b", not a whole number; allowed: at least 0 parts"#),
    ];
    for (text, message) in cases {
        assert_eq!(added(text), [message]);
    }
}

#[test]
fn wrong_shapes_say_what_is_wanted() {
    let cases = [
        ("  user: [a]\n", r#"m.yaml:4: "source.user" must be a single value, not a list"#),
        ("  user: {a: b}\n", r#"m.yaml:4: "source.user" must be a single value, not a section"#),
        ("  tables: {a: b}\n", r#"m.yaml:4: "source.tables" must be a list of texts, not a section"#),
        ("  tables:\n    - a\n    - [b]\n", r#"m.yaml:6: "source.tables" must be a list of texts, not a list"#),
        ("  tables:\n    - a\n    - ''\n", r#"m.yaml:6: "source.tables" has an empty element"#),
        ("load: x\n", r#"m.yaml:4: "load" must be a section (lines of "key: value"), not a single value"#),
        ("load: [x]\n", r#"m.yaml:4: "load" must be a section (lines of "key: value"), not a list"#),
        ("kafka: x\n", r#"m.yaml:4: "kafka" must be a section (lines of "name: value"), not a single value"#),
        ("kafka: {a: [b]}\n", r#"m.yaml:4: "kafka.a" must be a single value, not a list"#),
        ("kafka: {a: }\n", r#"m.yaml:4: "kafka.a" has no value; remove it, or write """#),
        ("kafka: {a.b: 1, a: {b: 2}}\n", r#"m.yaml:4: "kafka.a.b" is given twice"#),
        ("routes: {table: a}\n", r#"m.yaml:4: "routes" must be a list of sections, not a section"#),
        ("routes:\n  - a\n", r#"m.yaml:5: "routes[0]" must be a section (lines of "key: value"), not a single value"#),
    ];
    for (text, message) in cases {
        assert_eq!(added(text), [message]);
    }
}

#[test]
fn a_section_of_the_wrong_shape_is_told_once() {
    assert_eq!(problems("source: hunter2\n", &[]), [r#"m.yaml:1: "source" must be a section (lines of "key: value"), not a single value"#]);
    assert_eq!(problems("- a\n", &[]), [r#"m.yaml:1: the file must consist of lines of "key: value", not of a list"#]);
}

#[test]
fn all_problems_are_told_in_the_order_of_the_lines() {
    let text = "zebra: 1\nsource:\n  host: a\n  port: x\n  host: b\n  password: ${NOT_SET}\nload:\n  batch_bytes: 0\n";
    let environment = [("MILLRACE__LOAD__MODE", "x"), ("MILLRACE__LOAD__ZEBRA", "y")];
    assert_eq!(
        problems(text, &environment),
        [
            r#"m.yaml:1: unknown key "zebra"; known: source, load, kafka, routes"#,
            r#"m.yaml:4: "source.port" is "x", not a whole number; allowed: 1 to 65535"#,
            r#"m.yaml:5: duplicate key "host", first given on line 3"#,
            r#"m.yaml:6: "source.password" needs the environment variable NOT_SET, which isn't set; set it, or write ${NOT_SET:-default}"#,
            r#"m.yaml:8: "load.batch_bytes" is 0; allowed: 1B to 1GiB"#,
            r#"MILLRACE__LOAD__MODE: "load.mode" is "x"; allowed: "full-load", "cdc""#,
            r#"MILLRACE__LOAD__ZEBRA: no key has this name; MILLRACE__A__B sets the key "b" of section "a""#,
        ]
    );
}

#[test]
fn display_has_a_line_for_each_problem() {
    let error = read(Source::text("m.yaml", "a: 1\nb: 2\n"), |_| ()).unwrap_err();
    assert_eq!(error.to_string(), "m.yaml:1: unknown key \"a\"\nm.yaml:2: unknown key \"b\"");
}

#[test]
fn duplicate_keys_are_all_told() {
    assert_eq!(
        added("  host: a\nkafka:\n  a: 1\n  \"a\": 2\n  a: 3\n"),
        [
            r#"m.yaml:4: duplicate key "host", first given on line 2"#,
            r#"m.yaml:7: duplicate key "a", first given on line 6"#,
            r#"m.yaml:8: duplicate key "a", first given on line 6"#,
        ]
    );
}

#[test]
fn malformed_yaml_is_told_with_its_line() {
    let cases = [
        ("a: [1\nb: 2\n", "m.yaml:2: not valid YAML: "),
        ("b: 1\na: 'x\n\n", "m.yaml:2: not valid YAML: "),
        ("a:\n\tb: 1\n", "m.yaml:2: not valid YAML: "),
        ("a: b: c\n", "m.yaml:1: not valid YAML: "),
        ("a: 1\n  b: 2\n", "m.yaml:2: not valid YAML: "),
        ("a: \"\\q\"\n", "m.yaml:1: not valid YAML: "),
    ];
    for (text, start) in cases {
        let told = problems(text, &[]);
        assert_eq!(told.len(), 1, "{told:?}");
        assert!(told[0].starts_with(start), "{}", told[0]);
    }
    assert!(problems("a:\n\tb: 1\n", &[])[0].ends_with("; indent with spaces, not tabs"));
    assert!(problems("a: *.users\n", &[])[0].ends_with("; a value that starts with * needs quotes"));
}

#[test]
fn malformed_yaml_shows_nothing_of_a_password() {
    let told = problems("source:\n  password: @hunter2\n", &[]);
    assert_eq!(told, ["m.yaml:2: not valid YAML: unexpected character; a value that starts with a special character needs quotes"]);
}

#[test]
fn what_yaml_can_do_beyond_settings_is_refused() {
    let cases = [
        ("a: &x 1\n", 1, "anchors (&name) aren't supported; repeat the value, or put it in quotes if the & is meant"),
        ("a: !!int 1\n", 1, "tags (!name) aren't supported; put the value in quotes if the ! is meant"),
        ("a: 1\n---\nb: 2\n", 2, "a settings file holds one YAML document; remove the \"---\""),
        ("? [a]\n: b\n", 1, "a key must be a single word, not a list or a section"),
    ];
    for (text, line, message) in cases {
        assert_eq!(problems(text, &[]), [format!("m.yaml:{line}: {message}")]);
    }
}

#[test]
fn deep_nesting_is_an_error_and_no_overflow() {
    let deeper = "m.yaml:1: nested deeper than 16 levels";
    let limit = "m.yaml:1: not valid YAML: recursion limit exceeded";
    assert_eq!(problems(&"- ".repeat(200_000), &[]), [deeper]);
    assert_eq!(problems(&"[".repeat(20), &[]), [deeper]);
    assert_eq!(problems(&"[".repeat(200_000), &[]), [limit]);
    assert_eq!(problems(&"{a: ".repeat(20), &[]), [deeper]);
    assert_eq!(problems(&"{a: ".repeat(200_000), &[]), [limit]);
}

#[test]
fn a_byte_order_mark_and_crlf_are_fine() {
    let text = format!("\u{feff}{}", LEAST.replace('\n', "\r\n"));
    assert_eq!(good(&text, &[]).host, "db");
}

#[test]
fn variables_are_replaced_in_any_value() {
    let text = "source:\n  host: ${NAME}-${ZONE:-a}.db\n  port: ${PORT}\n  password: $$${NAME}$\n  tables: ['${NAME}.*', b]\nkafka:\n  client.id: ${NAME}\n";
    let sample = good(text, &[("NAME", "shop"), ("PORT", "3307")]);
    assert_eq!((sample.host.as_str(), sample.port), ("shop-a.db", 3307));
    assert_eq!((sample.password.as_str(), sample.tables[0].as_str()), ("$shop$", "shop.*"));
    assert_eq!(sample.kafka["client.id"], "shop");
}

#[test]
fn a_default_stands_in_for_an_empty_variable() {
    let text = format!("{LEAST}  user: ${{EMPTY:-root}}\n");
    assert_eq!(good(&text, &[("EMPTY", "")]).user.as_deref(), Some("root"));
}

#[test]
fn broken_variables_are_told_without_the_value() {
    let with = |password: &str| problems(&format!("source: {{host: a, password: '{password}'}}\n"), &[]);
    assert_eq!(with("hunter2${X"), [r#"m.yaml:1: "source.password" has a "${" without its "}"; a "$" itself is written "$$""#]);
    assert_eq!(with("hunter2${ 2x}"), [r#"m.yaml:1: "source.password" has a "${…}" that names no variable; a "$" itself is written "$$""#]);
    assert_eq!(
        with("hunter2${X}"),
        [r#"m.yaml:1: "source.password" needs the environment variable X, which isn't set; set it, or write ${X:-default}"#]
    );
}

#[test]
fn a_variable_holds_no_yaml_and_no_variable() {
    let text = format!("{LEAST}  user: ${{V}}\n  tables: ${{V}}\n");
    for value in ["a: b", "[a, b]", "x\nport: 1", "${HOME}", "$$", "# c", "~", "'"] {
        let sample = good(&text, &[("V", value), ("HOME", "/root")]);
        assert_eq!(sample.user.as_deref(), Some(value));
        assert_eq!(sample.tables, [value]);
    }
}

#[test]
fn overrides_win_over_the_file() {
    let environment = [
        ("MILLRACE__SOURCE__PORT", "3308"),
        ("MILLRACE__SOURCE__PASSWORD", "$${X}"),
        ("MILLRACE__Source__Tables", "a.*, b.*"),
        ("MILLRACE__LOAD__FLUSH_INTERVAL", "2s"),
        ("MILLRACE__LOAD__IDLE", "none"),
        ("MILLRACE__KAFKA__BOOTSTRAP_SERVERS", "k:9092"),
        ("MILLRACE__KAFKA__SSL__CA_LOCATION", "/ca"),
        ("MILLRACE_PORT", "tcp://10.0.0.1"),
    ];
    let text = format!("{LEAST}  port: 1\nkafka: {{bootstrap.servers: a, client.id: b}}\n");
    let sample = good(&text, &environment);
    assert_eq!((sample.port, sample.password.as_str()), (3308, "$${X}"));
    assert_eq!(sample.tables, ["a.*", "b.*"]);
    assert_eq!((sample.flush, sample.idle), (Duration::from_secs(2), None));
    let kafka: Vec<_> = sample.kafka.into_iter().map(|(name, value)| format!("{name}={value}")).collect();
    assert_eq!(kafka, ["bootstrap.servers=k:9092", "client.id=b", "ssl.ca.location=/ca"]);
}

#[test]
fn overrides_need_no_file_content() {
    let environment = [("MILLRACE__SOURCE__HOST", "h"), ("MILLRACE__SOURCE__PASSWORD", "p")];
    assert_eq!(good("", &environment).host, "h");
}

#[test]
fn a_list_is_overridden_by_commas_or_a_flow_list() {
    let list = |value: &str| good(LEAST, &[("MILLRACE__SOURCE__TABLES", value)]).tables;
    assert_eq!(list("a"), ["a"]);
    assert_eq!(list(" a , b "), ["a", "b"]);
    assert_eq!(list("[\"a,b\", c]"), ["a,b", "c"]);
    assert_eq!(list(""), [""; 0]);
    for value in ["a,,b", "[a", "[[a]]", "[a, '']", ","] {
        assert_eq!(
            problems(LEAST, &[("MILLRACE__SOURCE__TABLES", value)]),
            [r#"MILLRACE__SOURCE__TABLES: "source.tables" must be "a,b" or "[a, b]", without empty elements"#]
        );
    }
}

#[test]
fn an_unknown_override_names_the_nearest() {
    let one = |name: &str| problems(LEAST, &[(name, "hunter2")]);
    assert_eq!(
        one("MILLRACE__SOURCE__PASWORD_FILE"),
        ["MILLRACE__SOURCE__PASWORD_FILE: no key has this name; did you mean MILLRACE__SOURCE__PASSWORD_FILE?"]
    );
    assert_eq!(one("MILLRACE__SOURCE__TABELS"), ["MILLRACE__SOURCE__TABELS: no key has this name; did you mean MILLRACE__SOURCE__TABLES?"]);
    let twice = [("MILLRACE__SOURCE__HOST", "a"), ("MILLRACE__SOURCE__host", "b")];
    assert_eq!(problems(LEAST, &twice), ["MILLRACE__SOURCE__host: sets the same key as MILLRACE__SOURCE__HOST; unset one"]);
}

#[test]
fn a_secret_is_read_from_a_file() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("password");
    let path = path.to_str().unwrap();
    let text = format!("source: {{host: a, password_file: '{path}'}}\n");
    for (content, secret) in [("x", "x"), ("x\n", "x"), ("x\r\n", "x"), ("x\n\n", "x\n"), (" x ", " x ")] {
        std::fs::write(path, content).unwrap();
        assert_eq!(good(&text, &[]).password, secret);
        assert_eq!(good(LEAST, &[("MILLRACE__SOURCE__PASSWORD_FILE", path)]).password, secret);
    }
    assert_eq!(good(&text, &[("MILLRACE__SOURCE__PASSWORD", "y")]).password, "y");
    std::fs::write(path, [0xff]).unwrap();
    assert_eq!(problems(&text, &[]), [format!("m.yaml:1: \"source.password_file\" names {path}, which isn't UTF-8 text")]);
    std::fs::write(path, "x".repeat(70_000)).unwrap();
    assert_eq!(problems(&text, &[]), [format!("m.yaml:1: \"source.password_file\" names {path}, which is larger than 64KiB")]);
}

#[test]
fn a_changing_secret_is_read_again_from_its_file_and_from_nowhere_else() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("password");
    std::fs::write(&path, "old\n").unwrap();
    let of = |text: &str| read(Source::text("m.yaml", text), |r| r.changing_secret("password", "Password.")).unwrap();
    let (from_file, given) = (of(&format!("password_file: '{}'\n", path.display())), of("password: fixed\n"));
    let now = |secret: &ChangingSecret| secret.now().map(|text| text.expose_secret().to_owned());
    assert_eq!((now(&from_file).unwrap().as_str(), now(&given).unwrap().as_str()), ("old", "fixed"));
    std::fs::write(&path, "new\n").unwrap();
    assert_eq!((now(&from_file).unwrap().as_str(), now(&given).unwrap().as_str()), ("new", "fixed"));
    std::fs::write(&path, "\n").unwrap();
    assert_eq!(now(&from_file).unwrap_err(), "is empty");
    std::fs::remove_file(&path).unwrap();
    assert!(now(&from_file).unwrap_err().starts_with("can't be opened"));
    assert!(!format!("{from_file:?}{given:?}").contains("fixed"));
}

#[test]
fn a_secret_file_that_is_missing_is_told_with_its_path() {
    assert_eq!(
        problems("source:\n  host: a\n  password_file: /no/such\n", &[]),
        [r#"m.yaml:3: "source.password_file" names /no/such, which can't be opened: No such file or directory (os error 2)"#]
    );
}

#[test]
fn a_secret_given_twice_is_an_error() {
    let both = [r#"m.yaml:4: "source.password" and "password_file" are both given; remove one"#.to_owned()];
    assert_eq!(added("  password_file: /x\n"), both);
    let environment = [("MILLRACE__SOURCE__PASSWORD", "a"), ("MILLRACE__SOURCE__PASSWORD_FILE", "/x")];
    assert_eq!(
        problems(LEAST, &environment),
        [r#"MILLRACE__SOURCE__PASSWORD_FILE: "source.password" and "password_file" are both given; remove one"#]
    );
}

#[test]
fn no_message_shows_a_secret() {
    let texts = [
        "source: {host: a, password: [hunter2]}",
        "source: {host: a, password: {x: hunter2}}",
        "source: {host: a, passwort: hunter2}",
        "source: {host: a, password: hunter2, password: hunter2}",
        "source: {host: a, password: hunter2${X}}",
        "password: hunter2",
        "source: hunter2",
        "source: [hunter2]",
        "source: {host: a, password: \"hunter2",
        "source: {host: a, password: *hunter2}",
        "source: {host: a, password: &hunter2 x}",
        "source: {host: a, password: !hunter2 x}",
    ];
    for text in texts {
        let told = problems(text, &[("MILLRACE__SOURCE__PASSWORT", "hunter2")]).join("\n");
        assert!(!told.contains("hunter2"), "{told}");
    }
}

#[test]
fn properties_do_not_show_credentials() {
    let names = ["sasl.username", "SSL.Key.Location", "x.secret", "ssl.keystore.password", "oauth.token"];
    let map = names.iter().chain(&["client.id"]).map(|name| ((*name).to_owned(), "hunter2".to_owned()));
    let shown = format!("{:?}", Properties::from(map.collect::<std::collections::BTreeMap<_, _>>()));
    assert_eq!(shown.matches("hunter2").count(), 1);
    assert!(shown.contains(r#""client.id": "hunter2""#) && shown.contains(r#""x.secret": "[hidden]""#));
}

#[test]
fn a_failed_check_across_keys_is_told_with_the_line_of_its_key() {
    let check = |r: &mut Reader| {
        r.section("s", "", |r| {
            let a = r.integer("a", Some(1), 0..=9, "", "");
            let b = r.integer("b", Some(2), 0..=9, "", "");
            if a >= b {
                r.invalid("b", "must be greater than \"a\"");
            }
        });
    };
    let told = |text: &str, environment: &[(&str, &str)]| {
        let source = Source::text("m.yaml", text).with_environment(environment.iter().copied());
        read(source, check).unwrap_err().to_string()
    };
    assert_eq!(told("s:\n  a: 5\n  b: 3\n", &[]), "m.yaml:3: \"s.b\": must be greater than \"a\"");
    assert_eq!(told("s:\n  a: 5\n", &[]), "m.yaml:1: \"s.b\": must be greater than \"a\"");
    assert_eq!(told("", &[("MILLRACE__S__A", "5"), ("MILLRACE__S__B", "2")]), "MILLRACE__S__B: \"s.b\": must be greater than \"a\"");
    // The placeholder of a wrong "b" must not be judged as well.
    assert_eq!(told("s: {a: 5, b: x}", &[]), "m.yaml:1: \"s.b\" is \"x\", not a whole number; allowed: 0 to 9");
}

#[test]
fn a_file_is_read_from_its_path() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("m.yaml");
    let missing = read(Source::file(&path), sample).unwrap_err().to_string();
    let path_text = path.display();
    assert_eq!(missing, format!("{path_text}: the settings file can't be opened: No such file or directory (os error 2)"));
    std::fs::write(&path, LEAST).unwrap();
    let none: [(&str, &str); 0] = [];
    assert_eq!(read(Source::file(&path).with_environment(none), sample).unwrap().host, "db");
}

#[test]
fn the_description_has_every_key_once_in_order() {
    let entries = describe(sample);
    let paths: Vec<_> = entries.iter().map(|entry| entry.path.as_str()).collect();
    assert_eq!(
        paths,
        [
            "source",
            "source.host",
            "source.port",
            "source.user",
            "source.password",
            "source.token",
            "source.tables",
            "source.tls",
            "load",
            "load.mode",
            "load.flush_interval",
            "load.idle",
            "load.batch_bytes",
            "kafka",
            "routes",
            "routes[].table",
            "routes[].weight",
        ]
    );
    assert!(entries.iter().filter(|entry| entry.secret).all(|entry| entry.kind == Kind::Secret));
}

#[test]
fn the_reference_is_a_table_for_each_section() {
    let page = reference_markdown("Settings", &describe(sample));
    assert_eq!(page, reference_markdown("Settings", &describe(sample)));
    assert_eq!(
        page,
        "\
# Settings

| Key | Type | Default | Allowed | Environment | Meaning |
| --- | --- | --- | --- | --- | --- |
| `kafka` | map | empty |  | `MILLRACE__KAFKA__*` | Passed to librdkafka. |

## `source`

The MySQL server.

| Key | Type | Default | Allowed | Environment | Meaning |
| --- | --- | --- | --- | --- | --- |
| `host` | text | required |  | `MILLRACE__SOURCE__HOST` | Name or address. |
| `port` | integer | `3306` | 1 to 65535 | `MILLRACE__SOURCE__PORT` | TCP port. |
| `user` | text | none |  | `MILLRACE__SOURCE__USER` | User. |
| `password` or `password_file` | secret | required |  | `MILLRACE__SOURCE__PASSWORD` | Password. |
| `token` or `token_file` | secret | none |  | `MILLRACE__SOURCE__TOKEN` | Token \\| or so. |
| `tables` | list of texts | `[*.*]` |  | `MILLRACE__SOURCE__TABLES` | Patterns of tables. |
| `tls` | true or false | `false` | `true`, `false` | `MILLRACE__SOURCE__TLS` | Whether to encrypt. |

## `load`

Loading.

| Key | Type | Default | Allowed | Environment | Meaning |
| --- | --- | --- | --- | --- | --- |
| `mode` | choice | `cdc` | `full-load`, `cdc` | `MILLRACE__LOAD__MODE` | What to do. |
| `flush_interval` | duration | `1s` | 10ms to 1m | `MILLRACE__LOAD__FLUSH_INTERVAL` | Age. |
| `idle` | duration | none | at least 1s, or none | `MILLRACE__LOAD__IDLE` | Idle time. |
| `batch_bytes` | bytes | `16MiB` | 1B to 1GiB | `MILLRACE__LOAD__BATCH_BYTES` | Size of a batch. |

## `routes[]`

Where tables go.

| Key | Type | Default | Allowed | Environment | Meaning |
| --- | --- | --- | --- | --- | --- |
| `table` | text | required |  |  | Its name. |
| `weight` | integer | `1` | at least 0 parts |  | Its weight. |
"
    );
}

proptest! {
    #[test]
    fn any_text_is_read_or_refused_without_a_panic(text in "\\PC*|([a-c:\\-\\[\\]{}&*!|>'\"%@#?, \t\n]{0,60})") {
        let _ = read(Source::text("m.yaml", &text), sample);
    }

    #[test]
    fn a_variable_is_taken_literally(value in "[^\0]{1,40}") {
        let text = format!("{LEAST}  user: ${{V}}\n");
        let source = Source::text("m.yaml", &text).with_environment([("V", value.as_str())]);
        prop_assert_eq!(read(source, sample).unwrap().user, Some(value));
    }

    #[test]
    fn an_override_is_taken_literally(value in "[^\0]{1,40}") {
        let source = Source::text("m.yaml", LEAST).with_environment([("MILLRACE__SOURCE__PASSWORD", value.as_str())]);
        prop_assert_eq!(read(source, sample).unwrap().password, value);
    }

    #[test]
    fn doubled_dollars_give_any_text_back(text in "[a${}:\\-]{0,20}") {
        let none = |_: &str| None;
        let escaped = text.replace('$', "$$");
        prop_assert_eq!(value::replace_variables(&escaped, none), Ok(text));
    }

    #[test]
    fn durations_and_sizes_are_read_as_they_are_written(number in 0..=u64::MAX) {
        let duration = Duration::from_millis(number);
        prop_assert_eq!(value::parse_duration(&value::format_duration(duration)), Some(duration));
        prop_assert_eq!(value::parse_bytes(&value::format_bytes(number)), Some(number));
    }

    /// Junk without what makes a key or a further element of the secret's text.
    #[test]
    fn a_secret_is_in_no_message(junk in "[a-c\\[\\]&*!|>'\"%@# $]{0,8}", broken in 0..4) {
        let secret = format!("{junk}Zq7Zq7{junk}");
        let text = match broken {
            0 => format!("source:\n  host: a\n  pass: x\n  password: {secret}\n"),
            1 => format!("source:\n  pasword: {secret}\n"),
            2 => format!("source:\n  password: [{secret}]\n"),
            _ => format!("source: {{password: {secret}, port: x}}\n"),
        };
        if let Err(error) = read(Source::text("m.yaml", &text), sample) {
            prop_assert!(!error.to_string().contains("Zq7"), "{}", error);
        }
    }
}
