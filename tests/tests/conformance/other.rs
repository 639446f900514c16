//! What `mysql_cdc` read, as the text that [`millrace_tests::value`] gives: its values carry neither sign nor labels nor lengths, which the catalogue adds.

use millrace_tests::failure::{Context, Failure, Result};
use millrace_tests::source::Source;
use millrace_tests::value::{Word, float, moment};
use mysql_cdc::events::row_events::mysql_value::MySqlValue;

/// A column as the server's catalogue has it.
#[derive(Debug)]
pub(super) struct Listed {
    /// Its name.
    pub name: String,
    /// Its type: `bigint`.
    pub of: String,
    unsigned: bool,
    /// Bytes of a BINARY.
    bytes: usize,
    labels: Vec<String>,
}

/// A table's columns, in their order.
pub(super) async fn columns(mysql: &mut Source, database: &str, table: &str) -> Result<Vec<Listed>> {
    let sql = format!(
        "SELECT COLUMN_NAME, DATA_TYPE, COLUMN_TYPE, CAST(COALESCE(CHARACTER_OCTET_LENGTH, 0) AS CHAR) FROM information_schema.COLUMNS \
         WHERE TABLE_SCHEMA = '{database}' AND TABLE_NAME = '{table}' ORDER BY ORDINAL_POSITION"
    );
    let mut columns = Vec::new();
    for row in mysql.rows(&sql).await? {
        let mut texts = row.into_iter().map(|value| String::from_utf8_lossy(&value.unwrap_or_default()).into_owned());
        let [name, of, whole, bytes] = [texts.next(), texts.next(), texts.next(), texts.next()].map(Option::unwrap_or_default);
        let labels = if matches!(of.as_str(), "enum" | "set") { labels(&whole) } else { Vec::new() };
        columns.push(Listed { name, of, unsigned: whole.contains("unsigned"), bytes: bytes.parse()?, labels });
    }
    Ok(columns)
}

/// The labels in `enum('a','it''s')`.
fn labels(of: &str) -> Vec<String> {
    let mut labels = Vec::new();
    let mut rest = of;
    while let Some((_, quoted)) = rest.split_once('\'') {
        let mut label = String::new();
        let mut chars = quoted.char_indices();
        rest = "";
        while let Some((at, c)) = chars.next() {
            match (c, quoted[at + c.len_utf8()..].chars().next()) {
                ('\'' | '\\', Some(next)) if c == next => {
                    label.push(c);
                    chars.next();
                }
                ('\'', _) => {
                    rest = &quoted[at + 1..];
                    break;
                }
                _ => label.push(c),
            }
        }
        labels.push(label);
    }
    labels
}

impl Listed {
    /// The text of a value that `mysql_cdc` read.
    pub(super) fn word(&self, value: Option<&MySqlValue>) -> Result<Word> {
        let Some(value) = value else { return Ok(None) };
        let signed = |signed: i64, unsigned: u64| if self.unsigned { unsigned.to_string() } else { signed.to_string() }.into_bytes();
        Ok(Some(match value {
            MySqlValue::TinyInt(value) => signed(value.cast_signed().into(), (*value).into()),
            MySqlValue::SmallInt(value) => signed(value.cast_signed().into(), (*value).into()),
            // The sign is its 24th bit.
            MySqlValue::MediumInt(value) => signed(i64::from((value << 8).cast_signed() >> 8), (*value).into()),
            MySqlValue::Int(value) => signed(value.cast_signed().into(), (*value).into()),
            MySqlValue::BigInt(value) => signed(value.cast_signed(), *value),
            MySqlValue::Float(value) => float((*value).into()),
            MySqlValue::Double(value) => float(*value),
            MySqlValue::Decimal(text) => text.clone().into_bytes(),
            MySqlValue::Year(year) => year.to_string().into_bytes(),
            MySqlValue::Bit(bits) => bits.iter().fold(0_u64, |number, bit| number << 1 | u64::from(*bit)).to_string().into_bytes(),
            MySqlValue::Enum(0) => Vec::new(),
            MySqlValue::Enum(number) => {
                self.labels.get(usize::try_from(*number)? - 1).context(format_args!("label {number}"))?.clone().into_bytes()
            }
            MySqlValue::Set(bits) => {
                let chosen = self.labels.iter().enumerate().filter(|(place, _)| bits >> place & 1 == 1);
                chosen.map(|(_, label)| label.as_str()).collect::<Vec<_>>().join(",").into_bytes()
            }
            MySqlValue::String(text) => {
                let mut bytes = text.clone().into_bytes();
                if self.of == "binary" {
                    // The log leaves out the zero bytes at the end.
                    bytes.resize(self.bytes, 0);
                }
                bytes
            }
            MySqlValue::Blob(bytes) => bytes.clone(),
            MySqlValue::Date(date) => format!("{:04}-{:02}-{:02}", date.year, date.month, date.day).into_bytes(),
            MySqlValue::Time(time) => {
                let text = format!("{:02}:{:02}:{:02}.{:03}", time.hour, time.minute, time.second, time.millis);
                text.trim_end_matches('0').trim_end_matches('.').as_bytes().to_vec()
            }
            MySqlValue::DateTime(at) => {
                let day = format!("{:04}-{:02}-{:02}", at.year, at.month, at.day);
                let text = format!("{day} {:02}:{:02}:{:02}.{:03}", at.hour, at.minute, at.second, at.millis);
                text.trim_end_matches('0').trim_end_matches('.').as_bytes().to_vec()
            }
            MySqlValue::Timestamp(ms) => {
                moment(i64::try_from(*ms)?.checked_mul(1000).ok_or_else(|| Failure::new(format!("{ms} ms")))?).into_bytes()
            }
        }))
    }
}

#[test]
fn labels_are_read_out_of_their_quotes() {
    assert_eq!(labels(r"enum('a','it''s','b,c','x\\y','')"), ["a", "it's", "b,c", r"x\y", ""]);
}
