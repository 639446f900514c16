//! The collations about which something is decided without the server: it is what the server decides.

use std::cmp::Ordering;

use millrace_producer::expression::{ColumnInfo, Context, Expression, RowView, Undecided};
use millrace_schemas::avro::Nullability;
use millrace_schemas::shape::{ColumnType, TextKind};
use millrace_schemas::wire;
use mysql_async::prelude::Queryable;

use crate::mysql::{Database, with_database};

/// Collations, and whether all texts are decided or only those of ASCII.
const DECIDED: &[(&str, bool)] = &[
    ("utf8mb4_bin", true),
    ("utf8mb4_0900_bin", true),
    ("utf8mb3_bin", true),
    ("utf8_bin", true),
    ("ascii_bin", false),
    ("latin1_bin", false),
    ("utf8mb4_general_ci", false),
    ("utf8mb3_general_ci", false),
    ("utf8_general_ci", false),
    ("latin1_swedish_ci", false),
    ("ascii_general_ci", false),
    ("utf8mb4_0900_ai_ci", false),
    ("utf8mb4_0900_as_ci", false),
    ("utf8mb4_0900_as_cs", false),
];

struct Texts {
    columns: Vec<ColumnInfo>,
    less: Expression,
    equal: Expression,
    like: Expression,
}

impl Texts {
    fn new(collation: &str) -> Self {
        let kind = ColumnType::Text { kind: TextKind::VarChar, chars: 20, charset: collation.split('_').next().unwrap().to_owned() };
        let column = |name: &str| ColumnInfo {
            name: name.to_owned(),
            kind: kind.clone(),
            collation: Some(collation.to_owned()),
            nullability: Nullability::Required,
        };
        let columns = vec![column("a"), column("b")];
        let parse = |text: &str| Expression::parse(text, &columns).unwrap();
        Self { less: parse("a < b"), equal: parse("a = b"), like: parse("a LIKE b"), columns }
    }

    fn is(&self, expression: &Expression, a: &str, b: &str) -> Result<bool, String> {
        let mut row = Vec::new();
        wire::put_bytes(&mut row, a.as_bytes());
        let middle = row.len();
        wire::put_bytes(&mut row, b.as_bytes());
        let spans = [0..middle, middle..row.len()];
        assert_eq!(spans.len(), self.columns.len());
        let view = RowView { row: &row, spans: &spans };
        expression.is_true(view, Context { database: "", table: "" }, &Undecided).map_err(|error| error.to_string())
    }

    fn compare(&self, a: &str, b: &str) -> Result<Ordering, String> {
        if self.is(&self.equal, a, b)? {
            return Ok(Ordering::Equal);
        }
        Ok(if self.is(&self.less, a, b)? { Ordering::Less } else { Ordering::Greater })
    }
}

/// SplitMix64.
fn next(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mixed = (*state ^ (*state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

/// Each of ASCII's characters, and texts of a few characters: some of ASCII, with all that differs in little more likely than the rest.
fn samples(wide: bool) -> Vec<String> {
    let mut texts: Vec<String> = (0..128_u8).map(|byte| char::from(byte).to_string()).collect();
    texts.push(String::new());
    let likely: Vec<char> = " aAbB\t\u{1}\u{0}_-$~0".chars().collect();
    let far: Vec<char> = "éÉ中🐙ß\u{80}\u{ffff}".chars().collect();
    let mut state = 11;
    for _ in 0..180 {
        let length = 1 + next(&mut state) % 4;
        let text = (0..length).map(|_| match next(&mut state) % 8 {
            0 => char::from(u8::try_from(next(&mut state) % 128).unwrap()),
            1 if wide => far[usize::try_from(next(&mut state)).unwrap_or(0) % far.len()],
            _ => likely[usize::try_from(next(&mut state) % 64).unwrap() % likely.len()],
        });
        texts.push(text.collect());
    }
    texts
}

#[tokio::test]
async fn what_is_decided_of_a_collation_is_the_servers() {
    with_database(|mut database: Database| async move {
        let known: Vec<String> = database.conn.query("SELECT collation_name FROM information_schema.collations").await.unwrap();
        let mut tried = 0;
        for (collation, all) in DECIDED.iter().filter(|(collation, _)| known.iter().any(|known| known == collation)) {
            let charset = collation.split('_').next().unwrap();
            database
                .run(format!(
                    "CREATE TABLE {collation} (id INT PRIMARY KEY, t VARCHAR(9) CHARACTER SET {charset} COLLATE {collation} NOT NULL)"
                ))
                .await;
            let three_bytes = charset != "utf8mb4";
            let texts: Vec<String> =
                samples(*all).into_iter().filter(|text| !three_bytes || text.chars().all(|c| c <= '\u{ffff}')).collect();
            let rows: Vec<String> = texts
                .iter()
                .enumerate()
                .map(|(id, text)| format!("({id}, _utf8mb4 X'{}')", text.bytes().map(|byte| format!("{byte:02x}")).collect::<String>()))
                .collect();
            database.run(format!("INSERT INTO {collation} VALUES {}", rows.join(", "))).await;
            let sql = format!("SELECT a.id, b.id, STRCMP(a.t, b.t), a.t LIKE b.t FROM {collation} a JOIN {collation} b");
            let pairs: Vec<(usize, usize, i32, bool)> = database.conn.query(sql).await.unwrap();
            assert_eq!(pairs.len(), texts.len() * texts.len());
            let ours = Texts::new(collation);
            let mut undecided = 0;
            for (a, b, order, like) in pairs {
                let (a, b) = (&texts[a], &texts[b]);
                assert_eq!(ours.compare(a, b), Ok(order.cmp(&0)), "{collation} {a:?} {b:?}");
                match ours.is(&ours.like, a, b) {
                    Ok(found) => assert_eq!(found, like, "{collation} {a:?} LIKE {b:?}"),
                    // Characters that the collation ignores are the server's to compare.
                    Err(_) => {
                        assert!(
                            collation.contains("_0900_a") && format!("{a}{b}").contains(|c: char| c.is_control()),
                            "{collation} {a:?} LIKE {b:?}"
                        );
                        undecided += 1;
                    }
                }
            }
            assert!(undecided < texts.len() * texts.len() * 3 / 4);
            tried += 1;
        }
        assert!(tried > 8, "the server has only {tried} of the collations");
    })
    .await;
}
