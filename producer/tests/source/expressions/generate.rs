//! Tables, rows, conditions and values at random, from a seed.

use super::table;
use crate::mysql::Database;

/// What a column's values are, as far as conditions are about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Family {
    Exact,
    Year,
    Double,
    Moment,
    Time,
    /// Compared by that collation.
    Text(&'static str),
    Bytes,
    /// Only ever NULL or not.
    Opaque,
}

/// A column: its name, its type, and values to store, as literals.
struct Column {
    name: &'static str,
    sql: &'static str,
    family: Family,
    values: &'static [&'static str],
}

const fn column(name: &'static str, sql: &'static str, family: Family, values: &'static [&'static str]) -> Column {
    Column { name, sql, family, values }
}

const SMALL: &[&str] = &["0", "1", "-1", "2", "7", "10", "127", "-128", "255", "128"];
const BIG: &[&str] = &[
    "0",
    "1",
    "-1",
    "2",
    "7",
    "-9223372036854775808",
    "9223372036854775807",
    "9223372036854775806",
    "18446744073709551615",
    "9223372036854775808",
    "9007199254740993",
    "9007199254740992",
    "2147483648",
    "-2147483648",
];
const DECIMALS: &[&str] = &["0", "1", "-1", "2", "0.01", "-0.01", "1.50", "2.50", "-2.5", "99999999.99", "-99999999.99", "7"];
const WIDE: &[&str] = &[
    "0",
    "1",
    "-1",
    "1.5",
    "0.000000000000000000000000000001",
    "-0.000000000000000000000000000001",
    "99999999999999999999999999999999999.999999999999999999999999999999",
    "-99999999999999999999999999999999999.999999999999999999999999999999",
    "9223372036854775807",
    "9223372036854775807.5",
];
const DOUBLES: &[&str] = &[
    "0",
    "1",
    "-1",
    "0.1",
    "1.5",
    "-0.5",
    "0.123",
    "123",
    "9007199254740993",
    "16777217",
    "3.4e38",
    "1e-37",
    "-0.1",
    "0.30000000000000004",
];
const DATES: &[&str] = &[
    "'0000-00-00'",
    "'2024-02-31'",
    "'2024-00-10'",
    "'2023-02-29'",
    "'2024-02-29'",
    "'1970-01-01'",
    "'1900-02-29'",
    "'2000-02-29'",
    "'9999-12-31'",
    "'1000-01-01'",
    "'2024-03-01'",
];
const DATETIMES: &[&str] = &[
    "'0000-00-00 00:00:00'",
    "'2024-02-31 10:00:00'",
    "'2024-00-00 00:00:00'",
    "'2024-02-29 00:00:00'",
    "'2024-02-29 13:00:00'",
    "'2024-02-29 12:59:59.999999'",
    "'2024-02-29 13:00:00.5'",
    "'1969-12-31 23:59:59.999999'",
    "'9999-12-31 23:59:59'",
    "'1000-01-01 00:00:00.000001'",
    "'2000-01-01 00:00:00'",
];
const TIMESTAMPS: &[&str] = &[
    "'0000-00-00 00:00:00'",
    "'1970-01-01 00:00:01'",
    "'2038-01-19 03:14:07'",
    "'2024-02-29 00:00:00'",
    "'2024-02-29 13:00:00'",
    "'2024-03-31 01:30:00.25'",
    "'2024-10-27 00:30:00.999999'",
    "'2024-02-29 12:59:59.999999'",
];
const TIMES: &[&str] = &[
    "'00:00:00'",
    "'-838:59:59'",
    "'838:59:59'",
    "'-00:00:00.000001'",
    "'00:00:00.000001'",
    "'24:00:00'",
    "'-100:00:00'",
    "'10:30:00.5'",
    "'23:59:59.999999'",
];
const TEXTS: &[&str] = &[
    "''",
    "' '",
    "'a'",
    "'A'",
    "'a '",
    "'á'",
    "'Á'",
    "'ab'",
    "'AB '",
    "'a\\tb'",
    "'a\\t'",
    "'ß'",
    "'ss'",
    "'SS'",
    "'é'",
    "'e'",
    "'Z'",
    "'_'",
    "'%'",
    "'a%b'",
    "'a_b'",
    "'\\\\'",
    "'a\\\\b'",
    "'🐙'",
    "'🐙a'",
    "'中'",
    "'文'",
    "_utf8mb4 X'01'",
    "_utf8mb4 X'6101'",
    "_utf8mb4 X'7F'",
    "'O''Neill'",
    "'\\n'",
    "'~'",
    "'['",
    "'$'",
    "'1'",
    "'10'",
    "'2'",
    "'i'",
    "'I'",
    "'ı'",
    "'İ'",
    "'Ü'",
    "'ö'",
    "'z'",
    "'-'",
    "'a-b'",
    "'ab '",
];
const ASCII: &[&str] = &[
    "''", "' '", "'a'", "'A'", "'a '", "'ab'", "'AB '", "'a\\tb'", "'a\\t'", "'ss'", "'Z'", "'_'", "'%'", "'a%b'", "'a_b'", "'\\\\'",
    "'a\\\\b'", "'~'", "'['", "'$'", "'1'", "'10'", "'2'", "'-'", "'a-b'",
];
const BYTES: &[&str] = &["X''", "X'00'", "X'0000'", "X'20'", "X'61'", "X'6120'", "X'61000000'", "X'ff'", "X'2561'", "X'5c25'", "X'c3a9'"];
const LABELS: &[&str] = &["'new'", "'old'", "'Ünder'", "'a b'", "'NEW'", "'x'", "'n'", "''"];
const SETS: &[&str] = &["''", "'x'", "'y'", "'x,y'", "'Z'", "'x,y,Z'", "'X,Z'"];

const COLUMNS: &[Column] = &[
    column("t1", "TINYINT", Family::Exact, SMALL),
    column("t2", "TINYINT UNSIGNED NOT NULL", Family::Exact, SMALL),
    column("s1", "SMALLINT DEFAULT 5", Family::Exact, SMALL),
    column("m1", "MEDIUMINT UNSIGNED", Family::Exact, SMALL),
    column("i1", "INT", Family::Exact, SMALL),
    column("i2", "INT UNSIGNED ZEROFILL", Family::Exact, SMALL),
    column("i3", "INT", Family::Exact, SMALL),
    column("b1", "BIGINT", Family::Exact, BIG),
    column("b2", "BIGINT UNSIGNED", Family::Exact, BIG),
    column("d1", "DECIMAL(10,2)", Family::Exact, DECIMALS),
    column("d2", "DECIMAL(65,30)", Family::Exact, WIDE),
    column("d3", "DECIMAL(20,0) UNSIGNED NOT NULL", Family::Exact, BIG),
    column("bit1", "BIT(1)", Family::Exact, &["0", "1"]),
    column("bit12", "BIT(12) DEFAULT b'101'", Family::Exact, &["0", "1", "5", "2565", "4095"]),
    column("bit64", "BIT(64)", Family::Exact, &["0", "1", "9223372036854775808", "18446744073709551615"]),
    column("y", "YEAR", Family::Year, &["0", "1901", "1970", "2000", "2024", "2155"]),
    column("f1", "FLOAT", Family::Double, DOUBLES),
    column("f2", "DOUBLE", Family::Double, DOUBLES),
    column("f3", "FLOAT(10,3)", Family::Double, DOUBLES),
    column("dt", "DATE", Family::Moment, DATES),
    column("dtn", "DATE NOT NULL", Family::Moment, DATES),
    column("dtt0", "DATETIME", Family::Moment, DATETIMES),
    column("dtt3", "DATETIME(3) DEFAULT '2024-01-01'", Family::Moment, DATETIMES),
    column("dtt6", "DATETIME(6)", Family::Moment, DATETIMES),
    column("ts0", "TIMESTAMP NULL", Family::Moment, TIMESTAMPS),
    column("ts6", "TIMESTAMP(6) NULL", Family::Moment, TIMESTAMPS),
    column("ti0", "TIME", Family::Time, TIMES),
    column("ti6", "TIME(6)", Family::Time, TIMES),
    column("x_bin", "VARCHAR(20) COLLATE utf8mb4_bin", Family::Text("utf8mb4_bin"), TEXTS),
    column("x_bin2", "TEXT COLLATE utf8mb4_bin", Family::Text("utf8mb4_bin"), TEXTS),
    column("x_ai", "VARCHAR(20) COLLATE utf8mb4_0900_ai_ci", Family::Text("utf8mb4_0900_ai_ci"), TEXTS),
    column("x_ai2", "CHAR(9) COLLATE utf8mb4_0900_ai_ci NOT NULL", Family::Text("utf8mb4_0900_ai_ci"), TEXTS),
    column("x_cs", "VARCHAR(20) COLLATE utf8mb4_0900_as_cs DEFAULT 'd'", Family::Text("utf8mb4_0900_as_cs"), TEXTS),
    column("x_gen", "VARCHAR(20) COLLATE utf8mb4_general_ci", Family::Text("utf8mb4_general_ci"), TEXTS),
    column("x_gen2", "CHAR(20) COLLATE utf8mb4_general_ci", Family::Text("utf8mb4_general_ci"), TEXTS),
    column("x_uni", "VARCHAR(20) COLLATE utf8mb4_unicode_ci", Family::Text("utf8mb4_unicode_ci"), TEXTS),
    column("x_tr", "VARCHAR(20) COLLATE utf8mb4_tr_0900_ai_ci", Family::Text("utf8mb4_tr_0900_ai_ci"), TEXTS),
    column("l_sw", "VARCHAR(20) CHARACTER SET latin1 COLLATE latin1_swedish_ci", Family::Text("latin1_swedish_ci"), ASCII),
    column("l_bin", "VARCHAR(20) CHARACTER SET latin1 COLLATE latin1_bin", Family::Text("latin1_bin"), ASCII),
    column("a_gen", "VARCHAR(20) CHARACTER SET ascii", Family::Text("ascii_general_ci"), ASCII),
    column("gbk", "VARCHAR(20) CHARACTER SET gbk", Family::Text("gbk_chinese_ci"), ASCII),
    column("u16", "VARCHAR(20) CHARACTER SET utf16", Family::Text("utf16_general_ci"), ASCII),
    column("v", "VARBINARY(10)", Family::Bytes, BYTES),
    column("bn", "BINARY(4)", Family::Bytes, BYTES),
    column("bl", "BLOB", Family::Bytes, BYTES),
    column(
        "e1",
        "ENUM('new','old','Ünder','a b') CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_ai_ci",
        Family::Text("utf8mb4_0900_ai_ci"),
        LABELS,
    ),
    column("e2", "ENUM('new','old','n') CHARACTER SET utf8mb4 COLLATE utf8mb4_bin DEFAULT 'old'", Family::Text("utf8mb4_bin"), LABELS),
    column("st", "SET('x','y','Z') CHARACTER SET utf8mb4 COLLATE utf8mb4_general_ci", Family::Text("utf8mb4_general_ci"), SETS),
    column("j", "JSON", Family::Opaque, &["'{}'", "'1'", "'null'"]),
    column("p", "POINT", Family::Opaque, &["ST_GeomFromText('POINT(1 2)')"]),
];

/// Rows with values of their pools; one more has NULL wherever it can be.
const ROWS: usize = 120;

/// A condition, and whether MySQL itself understands it alike.
pub(super) struct Condition {
    pub(super) text: String,
    pub(super) written: Written,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Written {
    AsInMysql,
    /// The language decides otherwise, for a reason that the reference of rules gives.
    Otherwise,
}

pub(super) struct Generator {
    state: u64,
    /// Whether what is generated is understood otherwise by MySQL.
    otherwise: bool,
}

impl Generator {
    pub(super) fn new(seed: u64) -> Self {
        Self { state: seed, otherwise: false }
    }

    /// SplitMix64.
    fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.next() % u64::try_from(limit).unwrap()).unwrap()
    }

    fn one_in(&mut self, chances: usize) -> bool {
        self.below(chances) == 0
    }

    fn pick<T: Copy>(&mut self, all: &[T]) -> T {
        all[self.below(all.len())]
    }

    /// Makes a table of all types and fills it.
    pub(super) async fn table(&mut self, database: &mut Database, name: &str) {
        let columns: Vec<String> = COLUMNS.iter().map(|column| format!("`{}` {}", column.name, column.sql)).collect();
        table::run(database, &format!("CREATE TABLE {name} (id INT PRIMARY KEY, {}) CHARACTER SET utf8mb4", columns.join(", "))).await;
        let nullable = |column: &Column| !column.sql.contains("NOT NULL");
        let mut rows = vec![format!(
            "(0, {})",
            COLUMNS.iter().map(|column| if nullable(column) { "NULL" } else { column.values[0] }).collect::<Vec<_>>().join(", ")
        )];
        for id in 1..=ROWS {
            let mut values = vec![id.to_string()];
            for column in COLUMNS {
                let null = nullable(column) && self.one_in(10);
                values.push(if null { "NULL".to_owned() } else { self.pick(column.values).to_owned() });
            }
            rows.push(format!("({})", values.join(", ")));
        }
        // What a type doesn't have becomes its nearest value.
        table::run(database, &format!("INSERT IGNORE INTO {name} VALUES {}", rows.join(", "))).await;
    }

    /// A condition.
    pub(super) fn condition(&mut self) -> Condition {
        self.otherwise = false;
        let text = self.part(3);
        let written = if self.otherwise { Written::Otherwise } else { Written::AsInMysql };
        Condition { text, written }
    }

    fn part(&mut self, depth: usize) -> String {
        if depth == 0 || self.one_in(3) {
            return self.predicate();
        }
        let (a, b) = (self.part(depth - 1), self.part(depth - 1));
        match self.below(7) {
            0 | 1 => format!("({a}) AND ({b})"),
            2 | 3 => format!("({a}) OR ({b})"),
            4 => format!("({a}) XOR ({b})"),
            5 => format!("NOT ({a})"),
            _ => format!("({a}) {}", self.pick(&["IS TRUE", "IS NOT TRUE", "IS FALSE", "IS NOT FALSE", "IS UNKNOWN", "IS NOT UNKNOWN"])),
        }
    }

    fn predicate(&mut self) -> String {
        let column = &COLUMNS[self.below(COLUMNS.len())];
        if column.family == Family::Opaque || self.one_in(15) {
            return format!("{} {}", column.name, self.pick(&["IS NULL", "IS NOT NULL"]));
        }
        let is_text = matches!(column.family, Family::Text(_) | Family::Bytes);
        match self.below(10) {
            0 | 1 => {
                let (value, low, high) =
                    (self.operand(column.family, true), self.operand(column.family, false), self.operand(column.family, false));
                self.otherwise |= column.family == Family::Exact && [&value, &low, &high].into_iter().any(|one| is_beyond_bigint(one));
                // Where a text is among times, all are compared as texts.
                self.otherwise |= column.family == Family::Time && [&low, &high].into_iter().any(|bound| !bound.starts_with("TIME'"));
                // Item_func_between::val_int of 8.0 takes the NULLs for their opposite where dates are compared with texts.
                self.otherwise |= column.family == Family::Moment && [&low, &high].iter().any(|bound| !bound.ends_with('\''));
                format!("{value} {}BETWEEN {low} AND {high}", self.pick(&["", "NOT "]))
            }
            2 | 3 => {
                // 8.0.15 doesn't find the times beside negative ones.
                self.otherwise |= column.family == Family::Time;
                let value = self.operand(column.family, true);
                let list: Vec<String> = (0..1 + self.below(4))
                    .map(|_| if self.one_in(8) { "NULL".to_owned() } else { self.operand(column.family, false) })
                    .collect();
                self.otherwise |= std::iter::once(&value).chain(&list).any(|one| is_beyond_bigint(one));
                format!("{value} {}IN ({})", self.pick(&["", "NOT "]), list.join(", "))
            }
            4 | 5 if is_text => self.like(column.family),
            6 if column.family == Family::Exact && !column.sql.starts_with("DECIMAL") => column.name.to_owned(),
            _ => {
                let (left, right) = (self.operand(column.family, true), self.operand(column.family, false));
                let right = if self.one_in(25) { "NULL".to_owned() } else { right };
                let operator = self.pick(&["=", "<>", "!=", "<", "<=", ">", ">=", "<=>"]);
                // In 8.0.15 a <=> may be NULL itself, to what is around it.
                self.otherwise |= operator == "<=>";
                format!("{left} {operator} {right}")
            }
        }
    }

    fn column_of(&mut self, family: Family) -> String {
        let all: Vec<&Column> = COLUMNS.iter().filter(|column| column.family == family).collect();
        let column = all[self.below(all.len())];
        // MySQL compares FLOAT(M,D) with other fixed decimals only nearly.
        self.otherwise |= column.name == "f3";
        column.name.to_owned()
    }

    /// A literal to compare with values of that family.
    fn literal(&mut self, family: Family) -> String {
        match family {
            Family::Exact => {
                let all = self.pick(&[SMALL, BIG, DECIMALS, WIDE, &["2024", "1900", "1.5", "0.5", "18446744073709551616"]]);
                self.pick(all).to_owned()
            }
            Family::Year => self.pick(&["0", "1900", "1901", "1970", "2024", "2155", "3000", "-1"]).to_owned(),
            Family::Double => self.pick(DOUBLES).to_owned(),
            Family::Moment => {
                let all = self.pick(&[DATES, DATETIMES, TIMESTAMPS]);
                let text = self.pick(&all.iter().copied().filter(|text| is_day(text)).collect::<Vec<_>>());
                let prefix = if text.len() > 12 { "TIMESTAMP" } else { "DATE" };
                if self.one_in(2) { text.to_owned() } else { format!("{prefix}{text}") }
            }
            Family::Time => {
                let text = self.pick(TIMES);
                if !text.contains('.') && self.one_in(2) { text.to_owned() } else { format!("TIME{text}") }
            }
            Family::Text(collation) => {
                let all = if collation.starts_with("utf8mb4") { TEXTS } else { ASCII };
                let all: Vec<&str> = all.iter().chain(LABELS).chain(SETS).copied().filter(|text| text.starts_with('\'')).collect();
                let all: Vec<&str> = all.into_iter().filter(|text| collation.starts_with("utf8mb4") || text.is_ascii()).collect();
                self.pick(&all).to_owned()
            }
            Family::Bytes => self.pick(BYTES).to_owned(),
            Family::Opaque => "NULL".to_owned(),
        }
    }

    /// Something to compare. `first`: it has a column.
    fn operand(&mut self, family: Family, first: bool) -> String {
        if !first && !self.one_in(4) {
            return self.literal(family);
        }
        if self.one_in(4)
            && let Some(function) = self.function(family)
        {
            return function;
        }
        self.column_of(family)
    }

    /// A function's value that never is out of range.
    fn function(&mut self, family: Family) -> Option<String> {
        let column = self.column_of(family);
        let other = self.column_of(family);
        let literal = self.literal(family);
        // A BIT among others is bytes to MySQL, and the years among others are texts.
        // And a time that a function gives is a text beside a text.
        self.otherwise |= matches!(family, Family::Year | Family::Time) || column.starts_with("bit") || other.starts_with("bit");
        Some(match (family, self.below(6)) {
            // A literal that is a date isn't one to COALESCE, but for MySQL's own typed ones.
            (Family::Moment, _) => return None,
            (Family::Exact, 0) => self.number(1),
            (Family::Exact, 1) => {
                let text = self.text_column();
                let function = self.pick(&["CHAR_LENGTH", "CHAR_LENGTH", "LENGTH"]);
                if function == "LENGTH" { "LENGTH(x_gen)".to_owned() } else { format!("{function}({text})") }
            }
            (Family::Time, _) => format!("COALESCE({column}, {other})"),
            (Family::Text(_), 0) => {
                format!("{}({column}, {})", self.pick(&["LEFT", "RIGHT", "SUBSTRING"]), self.pick(&["0", "1", "2", "-1", "-2", "i1"]))
            }
            (Family::Text(_), 1) => {
                format!("SUBSTRING({column}, {}, {})", self.pick(&["1", "2", "-1", "t1"]), self.pick(&["0", "1", "2", "-1"]))
            }
            (Family::Text(_), 2) => format!("CONCAT({column}, {literal})"),
            (Family::Text(_), 3) => format!("{}({column})", self.pick(&["UPPER", "LOWER"])),
            (Family::Bytes, 0) => format!("LEFT({column}, 1)"),
            (Family::Bytes, 1) => format!("CONCAT({column}, {other})"),
            // A NULLIF of a date or a number is a text to some versions.
            (_, 4) if matches!(family, Family::Text(_) | Family::Bytes) => format!("NULLIF({column}, {literal})"),
            (Family::Exact, 2) => format!("IFNULL({column}, {other})"),
            (_, 5) => format!("IF(i1 > 0, {column}, {literal})"),
            _ => format!("COALESCE({column}, {literal})"),
        })
    }

    fn text_column(&mut self) -> String {
        let all: Vec<&Column> = COLUMNS.iter().filter(|column| matches!(column.family, Family::Text(_))).collect();
        all[self.below(all.len())].name.to_owned()
    }

    /// Arithmetic that has no result beyond its type.
    fn number(&mut self, depth: usize) -> String {
        let part = |generator: &mut Self| {
            if depth > 0 && generator.one_in(3) {
                generator.number(depth - 1)
            } else {
                generator.pick(&["t1", "s1", "i1", "i3", "d1"]).to_owned()
            }
        };
        let (a, b) = (part(self), part(self));
        let b = if self.one_in(2) { self.pick(&["1", "-1", "2.5", "100"]).to_owned() } else { b };
        format!("({a} {} {b})", self.pick(&["+", "-", "*"]))
    }

    fn like(&mut self, family: Family) -> String {
        let value = self.column_of(family);
        let not = self.pick(&["", "NOT "]);
        if family == Family::Bytes {
            return format!("{value} {not}LIKE {}", self.pick(&["X'25'", "X'5f'", "X'6125'", "X'255c2525'", "X'0025'", "X'5f5f5f5f'"]));
        }
        let is_wide = matches!(family, Family::Text(collation) if collation.starts_with("utf8mb4"));
        let wide = ["%é%", "Á%", "_🐙", "%ß", "ü%", "%İ"];
        let ascii = [
            "%",
            "a%",
            "%a",
            "_",
            "__",
            "a_",
            "%b%",
            "%A",
            "\\\\%",
            "\\\\_",
            "a\\\\%b",
            "%\\\\\\\\%",
            "",
            "%,%",
            "n%w",
            "a b",
            "% ",
            "a%b",
            "%s_",
            "_%_",
        ];
        let pattern = if is_wide && self.one_in(3) { self.pick(&wide) } else { self.pick(&ascii) };
        let escape = if self.one_in(8) { " ESCAPE '|'" } else { "" };
        format!("{value} {not}LIKE '{pattern}'{escape}")
    }

    /// A value of any kind, which may be out of range.
    pub(super) fn value(&mut self) -> String {
        self.otherwise = false;
        let family = COLUMNS[self.below(COLUMNS.len())].family;
        let family = if family == Family::Opaque { Family::Exact } else { family };
        match self.below(8) {
            0 => {
                let operator = self.pick(&["+", "-", "*"]);
                // Not the difference of 0 and -2^63, which 8.0.15 gives as -2^63: here it is out of range. Nor that number times 1, which newer ones give.
                let left = self.pick(&["b1", "b2", "i1", "t2", "d1", "y", "bit64", "i2"]);
                let right = self.pick(if operator == "+" {
                    &["b1", "b2", "1", "-1", "d1", "7", "bit12"][..]
                } else {
                    &["b2", "-1", "d1", "7", "bit12"]
                });
                format!("{left} {operator} {right}")
            }
            1 => {
                let columns: Vec<&str> =
                    (0..2).map(|_| self.pick(&["i1", "b1", "b2", "d1", "d2", "i2", "x_ai", "e1", "st", "y", "l_sw", "a_gen"])).collect();
                format!("CONCAT({}, '/', {})", columns[0], columns[1])
            }
            2 => format!(
                "CAST({} AS CHAR)",
                self.pick(&[
                    "i1", "i2", "b2", "d1", "d2", "y", "dt", "dtt0", "dtt3", "dtt6", "ts0", "ts6", "ti0", "ti6", "x_bin", "e1", "st",
                    "i1 > 0"
                ])
            ),
            3 => {
                let number = self.pick(&["d1", "i1", "i2", "t2", "y"]);
                format!("CAST({number} AS {})", self.pick(&["SIGNED", "DECIMAL(20,1)", "DECIMAL(20,0)", "DECIMAL(30,5)"]))
            }
            4 => format!(
                "SHA2({}, 256)",
                self.pick(&["x_ai", "x_gen2", "a_gen", "v", "bn", "CONVERT(l_sw USING utf8mb4)", "CONCAT(x_bin, '🐙')"])
            ),
            5 => {
                let (a, b) = (self.pick(&["i1", "d1", "t2", "b2", "y"]), self.pick(&["1.50", "0", "i3", "b1", "d1"]));
                format!("CASE WHEN {} THEN {a} WHEN i1 > 0 THEN {b} END", self.predicate())
            }
            6 => {
                let column = &COLUMNS[self.below(COLUMNS.len())];
                if column.family == Family::Opaque { "y".to_owned() } else { column.name.to_owned() }
            }
            _ => self.function(family).unwrap_or_else(|| self.column_of(family)),
        }
    }
}

/// Whether a number may be beyond BIGINT: such numbers are negative ones to the BETWEEN and IN of 8.0.15, where others are signed.
fn is_beyond_bigint(operand: &str) -> bool {
    ["b2", "bit", "9223372036854775808", "18446744073709551615"].iter().any(|one| operand.contains(one))
}

/// Whether a date in one of the pools is a day that there is.
fn is_day(text: &str) -> bool {
    !["0000", "02-31", "-00", "2023-02-29", "1900-02-29"]
        .iter()
        .any(|wrong| text.split(' ').next().is_some_and(|date| date.contains(wrong)))
}
