//! One value as one text, whoever holds it: MySQL, which prints it, or a record in Kafka, whose writer's schema says what its bytes mean. Two values are
//! the same exactly when their texts are the same bytes. Nothing here is shared with the codecs that are judged by it.
//!
//! What is brought to one form:
//!
//! | MySQL | Form |
//! | --- | --- |
//! | integers, YEAR | decimal digits, without those that ZEROFILL shows |
//! | FLOAT, DOUBLE | the double's bits (a FLOAT is widened, which is exact; MySQL's own text of a FLOAT has six digits and isn't) |
//! | DECIMAL | all digits of the scale |
//! | BIT | the number |
//! | TIME, DATETIME, TIMESTAMP | zeros at the fraction's end are left out; TIMESTAMP in UTC |
//! | geometry, VECTOR | MySQL's own bytes |
//! | everything else | the text in UTF-8, or the bytes |

use apache_avro::types::Value;
use serde_json::Value as Json;

use crate::failure::{Context, Failure, Result};
use crate::topic::{field, plain};

/// A value's text; none is NULL.
pub type Word = Option<Vec<u8>>;

/// How what a server prints is brought to one form.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// As it is.
    AsIs,
    /// A number that the server may show in another way.
    Number,
    /// FLOAT and DOUBLE.
    Float,
    /// TIME, DATETIME, TIMESTAMP.
    Temporal,
    /// A geometry of any kind.
    Geometry,
}

impl Form {
    /// The form of a type, by its name in `information_schema.COLUMNS.DATA_TYPE`.
    #[must_use]
    pub fn of(data_type: &str) -> Self {
        match data_type {
            "float" | "double" => Self::Float,
            "bit" | "year" | "tinyint" | "smallint" | "mediumint" | "int" | "bigint" => Self::Number,
            "time" | "datetime" | "timestamp" => Self::Temporal,
            "point" | "linestring" | "polygon" | "multipoint" | "multilinestring" | "multipolygon" | "geometry" | "geomcollection"
            | "geometrycollection" => Self::Geometry,
            _ => Self::AsIs,
        }
    }

    /// What MySQL is asked for, to have a quoted column printed exactly.
    #[must_use]
    pub fn expression(self, quoted: &str) -> String {
        match self {
            // The product of a FLOAT and a double is a double: exact, printed with as many digits as tell it from every other.
            Self::Float => format!("{quoted} * 1e0"),
            // A ZEROFILL is how the client is to show a number, and no part of it.
            Self::Number => format!("{quoted} + 0"),
            Self::AsIs | Self::Temporal | Self::Geometry => quoted.to_owned(),
        }
    }

    /// Brings what was printed to the form.
    ///
    /// # Errors
    /// If it isn't of the type.
    pub fn apply(self, printed: Vec<u8>) -> Result<Vec<u8>> {
        match self {
            Self::AsIs | Self::Number | Self::Geometry => Ok(printed),
            Self::Float => {
                let text = String::from_utf8_lossy(&printed);
                Ok(float(text.parse().context(format_args!("{text} is no number"))?))
            }
            Self::Temporal => Ok(without_zeros(String::from_utf8(printed)?)),
        }
    }
}

/// A double, told from every other one.
#[must_use]
pub fn float(number: f64) -> Vec<u8> {
    format!("{number:e} ({:016x})", number.to_bits()).into_bytes()
}

fn without_zeros(text: String) -> Vec<u8> {
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }.into_bytes()
}

/// What a field's bytes mean, by its schema.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Meaning {
    /// What the Avro type says.
    Plain,
    Decimal(usize),
    Bits,
    Date,
    Time,
    Milliseconds,
    Microseconds,
    Zoned,
}

/// A column as the writer's schema tells it.
#[derive(Debug, Clone)]
pub struct Column {
    /// MySQL's name.
    pub name: String,
    /// The field's name.
    field: String,
    meaning: Meaning,
    /// The Avro type.
    of: String,
    default: Option<Json>,
}

/// The columns of the record `Value` in an envelope's schema.
///
/// # Errors
/// If it isn't an envelope.
pub fn columns(envelope: &Json) -> Result<Vec<Column>> {
    let fields = envelope.pointer("/fields/0/type/1/fields").and_then(Json::as_array).context("the schema isn't an envelope")?;
    fields.iter().map(column).collect()
}

fn column(described: &Json) -> Result<Column> {
    let name = described.get("name").and_then(Json::as_str).context("a field without name")?;
    let of = described.get("type").context("a field without type")?;
    let of = of.as_array().and_then(|branches| branches.iter().find(|branch| *branch != "null")).unwrap_or(of);
    let text = |pointer: &str| of.pointer(pointer).and_then(Json::as_str);
    let meaning = match text("/connect.name") {
        Some("org.apache.kafka.connect.data.Decimal") => {
            Meaning::Decimal(usize::try_from(of.get("scale").and_then(Json::as_u64).context("a decimal without scale")?)?)
        }
        Some("io.debezium.data.Bits") => Meaning::Bits,
        Some("io.debezium.time.Date") => Meaning::Date,
        Some("io.debezium.time.MicroTime") => Meaning::Time,
        Some("io.debezium.time.Timestamp") => Meaning::Milliseconds,
        Some("io.debezium.time.MicroTimestamp") => Meaning::Microseconds,
        Some("io.debezium.time.ZonedTimestamp") => Meaning::Zoned,
        _ => Meaning::Plain,
    };
    let true_name = text("/connect.parameters/__debezium.source.column.name").unwrap_or(name);
    let of = of.as_str().or_else(|| text("/type")).unwrap_or_default().to_owned();
    Ok(Column { name: true_name.to_owned(), field: name.to_owned(), meaning, of, default: described.get("default").cloned() })
}

impl Column {
    /// Its value in a row.
    ///
    /// # Errors
    /// If it is missing, or of another type than the schema says.
    pub fn of(&self, row: &Value) -> Result<Word> {
        let value = field(row, &self.field).context(format_args!("no field '{}'", self.field))?;
        self.word(value).context(&self.field)
    }

    fn word(&self, value: &Value) -> Result<Word> {
        let unlike = || Failure::new(format!("{:?} can't be {value:?}", self.meaning));
        let bytes = match (self.meaning, value) {
            (_, Value::Null) => return Ok(None),
            (Meaning::Decimal(scale), Value::Decimal(decimal)) => decimal_text(&Vec::<u8>::try_from(decimal)?, scale).into_bytes(),
            (Meaning::Decimal(scale), Value::Bytes(bytes)) => decimal_text(bytes, scale).into_bytes(),
            (Meaning::Bits, Value::Bytes(bytes)) => bits(bytes.iter().rev()).to_string().into_bytes(),
            (Meaning::Date, Value::Int(days)) => date(i64::from(*days)).into_bytes(),
            (Meaning::Time, Value::Long(us)) => time(*us).into_bytes(),
            (Meaning::Milliseconds, Value::Long(ms)) => moment(ms * 1000).into_bytes(),
            (Meaning::Microseconds, Value::Long(us)) => moment(*us).into_bytes(),
            (Meaning::Zoned, Value::String(text)) => {
                let local = text.strip_suffix('Z').ok_or_else(unlike)?.replacen('T', " ", 1);
                without_zeros(local)
            }
            (Meaning::Plain, Value::Boolean(bit)) => vec![if *bit { b'1' } else { b'0' }],
            (Meaning::Plain, Value::Int(number)) => number.to_string().into_bytes(),
            (Meaning::Plain, Value::Long(number)) => number.to_string().into_bytes(),
            (Meaning::Plain, Value::Float(number)) => float(f64::from(*number)),
            (Meaning::Plain, Value::Double(number)) => float(*number),
            (Meaning::Plain, Value::String(text)) => text.clone().into_bytes(),
            (Meaning::Plain, Value::Bytes(bytes)) => bytes.clone(),
            (Meaning::Plain, Value::Record(_)) => geometry(value)?,
            (Meaning::Plain, Value::Array(items)) => {
                let floats = items.iter().map(|item| match plain(item) {
                    Value::Float(number) => Ok(number.to_le_bytes()),
                    _ => Err(unlike()),
                });
                floats.collect::<Result<Vec<_>>>()?.concat()
            }
            _ => return Err(unlike()),
        };
        Ok(Some(bytes))
    }

    /// What ALTER TABLE … ADD COLUMN fills older rows with: the default, and without one the zero of the type, as MySQL does for a NOT NULL column.
    ///
    /// # Errors
    /// If the default isn't of the type, or neither is known.
    pub fn filled_in(&self) -> Result<Word> {
        if let Some(word) = self.default()? {
            return Ok(word);
        }
        match (self.meaning, self.of.as_str()) {
            (Meaning::Plain, "int" | "long") => Ok(Some(b"0".to_vec())),
            (Meaning::Plain, "float" | "double") => Ok(Some(float(0.0))),
            (Meaning::Plain, "string" | "bytes") => Ok(Some(Vec::new())),
            (Meaning::Decimal(scale), _) => Ok(Some(decimal_text(&[0], scale).into_bytes())),
            _ => Err(Failure::new(format!("older rows have no '{}' and its schema no default", self.name))),
        }
    }

    /// The schema's default; none where it gives none.
    ///
    /// # Errors
    /// If the default isn't of the type.
    pub fn default(&self) -> Result<Option<Word>> {
        let Some(default) = &self.default else { return Ok(None) };
        let value = match (self.of.as_str(), default) {
            (_, Json::Null) => Value::Null,
            ("boolean", Json::Bool(bit)) => Value::Boolean(*bit),
            // Avro writes bytes as the code points 0 to 255.
            ("bytes", Json::String(text)) => {
                Value::Bytes(text.chars().map(|c| u8::try_from(u32::from(c))).collect::<std::result::Result<_, _>>()?)
            }
            ("string", Json::String(text)) => Value::String(text.clone()),
            ("int", Json::Number(number)) => Value::Int(i32::try_from(number.as_i64().context("an int")?)?),
            ("long", Json::Number(number)) => Value::Long(number.as_i64().context("a long")?),
            ("float", Json::Number(number)) => Value::Float(number.to_string().parse()?),
            ("double", Json::Number(number)) => Value::Double(number.as_f64().context("a double")?),
            (of, default) => return Err(Failure::new(format!("{}: {of} by default {default}", self.name))),
        };
        self.word(&value).context(&self.name).map(Some)
    }
}

/// Where a row of fewer columns is to be read as one of more.
fn bits<'a>(big_endian: impl Iterator<Item = &'a u8>) -> u64 {
    big_endian.fold(0, |number, byte| number << 8 | u64::from(*byte))
}

/// MySQL's form of a geometry: the SRID, little-endian, and the WKB. A point says its coordinates twice.
fn geometry(value: &Value) -> Result<Vec<u8>> {
    let Some(Value::Bytes(wkb)) = field(value, "wkb") else { return Err(Failure::new(format!("a geometry without WKB: {value:?}"))) };
    let srid = match field(value, "srid") {
        Some(Value::Int(srid)) => *srid,
        _ => 0,
    };
    if let (Some(Value::Double(x)), Some(Value::Double(y))) = (field(value, "x"), field(value, "y"))
        && wkb.get(5..) != Some(&[x.to_le_bytes(), y.to_le_bytes()].concat()[..])
    {
        return Err(Failure::new(format!("the point {x}, {y} is not its WKB")));
    }
    Ok([&srid.to_le_bytes()[..], wkb].concat())
}

/// A big-endian two's complement number of any length, with a decimal point.
fn decimal_text(big_endian: &[u8], scale: usize) -> String {
    let negative = big_endian.first().is_some_and(|byte| byte & 0x80 != 0);
    let mut magnitude: Vec<u8> = big_endian.to_vec();
    if negative {
        let mut carry = true;
        for byte in magnitude.iter_mut().rev() {
            (*byte, carry) = (!*byte).overflowing_add(u8::from(carry));
        }
    }
    let mut digits = Vec::new();
    while magnitude.iter().any(|byte| *byte != 0) || digits.len() <= scale {
        let mut rest = 0_u16;
        for byte in &mut magnitude {
            let dividend = rest << 8 | u16::from(*byte);
            *byte = u8::try_from(dividend / 10).unwrap_or(u8::MAX);
            rest = dividend % 10;
        }
        digits.push(char::from(b'0' + u8::try_from(rest).unwrap_or(0)));
    }
    let text: String = digits.iter().rev().collect();
    let (whole, fraction) = text.split_at(text.len() - scale);
    format!("{}{whole}{}{fraction}", if negative { "-" } else { "" }, if scale > 0 { "." } else { "" })
}

const DAY_US: i64 = 86_400_000_000;

/// µs since 1970 as DATETIME prints them.
#[must_use]
pub fn moment(us: i64) -> String {
    format!("{} {}", date(us.div_euclid(DAY_US)), time(us.rem_euclid(DAY_US)))
}

/// µs as TIME prints them.
#[must_use]
pub fn time(us: i64) -> String {
    let (sign, us) = (if us < 0 { "-" } else { "" }, us.unsigned_abs());
    let seconds = us / 1_000_000;
    let text = format!("{sign}{:02}:{:02}:{:02}.{:06}", seconds / 3600, seconds / 60 % 60, seconds % 60, us % 1_000_000);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// Days since 1970-01-01 as a date of the Gregorian calendar (Hinnant, "chrono-Compatible Low-Level Date Algorithms").
#[must_use]
pub fn date(days: i64) -> String {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let (day, month) = (day_of_year - (153 * shifted + 2) / 5 + 1, if shifted < 10 { shifted + 3 } else { shifted - 9 });
    format!("{:04}-{month:02}-{day:02}", year_of_era + era * 400 + i64::from(month <= 2))
}

/// As much of a value as a message needs.
#[must_use]
pub fn shown(word: Option<&[u8]>) -> String {
    const BYTES: usize = 80;
    match word {
        None => "NULL".to_owned(),
        Some(word) => format!("'{}'{}", word.get(..BYTES).unwrap_or(word).escape_ascii(), if word.len() > BYTES { "…" } else { "" }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_form_never_makes_two_values_one() {
        assert_ne!(Form::Float.apply(b"0".to_vec()).unwrap(), Form::Float.apply(b"-0".to_vec()).unwrap());
        assert_eq!(Form::Float.apply(b"1e22".to_vec()).unwrap(), Form::Float.apply(b"10000000000000000000000".to_vec()).unwrap());
        assert_eq!(Form::Temporal.apply(b"10:00:00.500".to_vec()).unwrap(), b"10:00:00.5");
        assert_eq!(Form::Temporal.apply(b"10:00:00".to_vec()).unwrap(), b"10:00:00");
    }

    #[test]
    fn numbers_and_days_are_as_mysql_prints_them() {
        for (bytes, scale, text) in
            [(&[0][..], 2, "0.00"), (&[0xff], 0, "-1"), (&[0x80], 1, "-12.8"), (&[0, 0xff], 3, "0.255"), (&[1, 0, 0], 0, "65536")]
        {
            assert_eq!(decimal_text(bytes, scale), text);
        }
        for (bytes, text) in [(&[0, 0xff][..], "0.0255"), (&[0xff], "-0.0001"), (&12_345_678_i64.to_be_bytes(), "1234.5678")] {
            assert_eq!(decimal_text(bytes, 4), text);
        }
        assert_eq!(moment(-1), "1969-12-31 23:59:59.999999");
        assert_eq!(time(-3_020_399_000_000), "-838:59:59");
        assert_eq!((date(-719_162), date(2_932_896), date(19_782)), ("0001-01-01".into(), "9999-12-31".into(), "2024-02-29".into()));
    }

    #[test]
    fn a_zoned_timestamp_is_in_utc_and_its_text_must_be_one() {
        let zoned = column(&json!({"name": "a", "type": {"type": "string", "connect.name": "io.debezium.time.ZonedTimestamp"}})).unwrap();
        let word = |text: &str| zoned.word(&Value::String(text.to_owned()));
        assert_eq!(word("2024-05-06T07:08:09.12Z").unwrap(), Some(b"2024-05-06 07:08:09.12".to_vec()));
        assert_eq!(word("2024-05-06T07:08:09Z").unwrap(), Some(b"2024-05-06 07:08:09".to_vec()));
        assert!(word("no time").is_err());
    }

    #[test]
    fn a_default_is_the_text_that_a_row_has() {
        let decimal = json!({"type": "bytes", "connect.name": "org.apache.kafka.connect.data.Decimal", "scale": 2});
        let of = |described: Json| column(&described).unwrap().default().unwrap();
        assert_eq!(of(json!({"name": "a", "type": decimal, "default": "\u{ff}\u{6a}"})), Some(Some(b"-1.50".to_vec())));
        assert_eq!(of(json!({"name": "a", "type": ["null", "int"], "default": null})), Some(None));
        assert_eq!(of(json!({"name": "a", "type": "int"})), None);
    }
}
