//! A typed tree as SQL. No part of the user's text is in it: names are quoted, literals are written again.
//!
//! Each node says itself what it is, so that neither the columns' ZEROFILL or (M,D), nor the connection's collation, change what is compared.

use millrace_schemas::shape::{ColumnType, quote};

use super::comparer::{charset, hex};
use super::kind::{Collation, Kind};
use super::tree::{Comparison, How, Literal, Node, Op};
use super::{ColumnInfo, Context, text};

/// The whole expression.
pub(super) fn expression(root: &Node, columns: &[ColumnInfo], context: Context<'_>) -> String {
    Writing { columns, context }.node(root)
}

struct Writing<'a> {
    columns: &'a [ColumnInfo],
    context: Context<'a>,
}

impl Writing<'_> {
    fn node(&self, node: &Node) -> String {
        match &node.op {
            Op::Literal(literal) => literal_sql(literal, &node.kind),
            Op::Column(index) => self.column(*index),
            Op::SourceDatabase => text_literal(self.context.database),
            Op::SourceTable => text_literal(self.context.table),
            // In 8.0.15 a <=> may be NULL itself to what is around it, where one side is.
            Op::Compare { how, comparison: Comparison::Same, left, right } if *how != How::Null => format!(
                "IFNULL({} = {}, {} IS NULL AND {} IS NULL)",
                self.operand(how, left),
                self.operand(how, right),
                self.node(left),
                self.node(right)
            ),
            Op::Compare { how, comparison, left, right } => {
                format!("({} {} {})", self.operand(how, left), comparison.sql(), self.operand(how, right))
            }
            Op::In { how, value, alternatives } if !is_in_reliable(how, value, alternatives) => {
                let equal = |one: &Node| format!("{} = {}", self.operand(how, value), self.operand(how, one));
                format!("({})", alternatives.iter().map(equal).collect::<Vec<_>>().join(" OR "))
            }
            Op::In { how, value, alternatives } => {
                let list: Vec<String> = alternatives.iter().map(|one| self.operand(how, one)).collect();
                format!("({} IN ({}))", self.operand(how, value), list.join(", "))
            }
            Op::Like { how, value, pattern, escape } => {
                let escape = match escape {
                    '\\' => String::new(),
                    '\'' => " ESCAPE ''''".to_owned(),
                    escape => format!(" ESCAPE '{escape}'"),
                };
                format!("({} LIKE {}{escape})", self.operand(how, value), self.operand(how, pattern))
            }
            Op::IsNull(value) => format!("({} IS NULL)", self.node(value)),
            Op::Is { value, wanted } => format!("({} IS {})", self.node(value), if *wanted { "TRUE" } else { "FALSE" }),
            Op::And(nodes) => self.joined(nodes, " AND "),
            Op::Or(nodes) => self.joined(nodes, " OR "),
            Op::Xor(left, right) => format!("({} XOR {})", self.node(left), self.node(right)),
            Op::Not(inner) => format!("(NOT {})", self.node(inner)),
            Op::Arithmetic { operator, left, right } => {
                format!("({} {} {})", self.number(&node.kind, left), operator.sql(), self.number(&node.kind, right))
            }
            Op::Coalesce(nodes) => format!("COALESCE({})", self.list(nodes)),
            Op::Case(whens, otherwise) => {
                let whens: String =
                    whens.iter().map(|(condition, then)| format!("WHEN {} THEN {} ", self.node(condition), self.node(then))).collect();
                format!("(CASE {whens}ELSE {} END)", self.node(otherwise))
            }
            Op::Concat(nodes) => {
                let mixed = matches!(&node.kind, Kind::Text(kind) if kind.collation == Collation::None);
                let list: Vec<String> = nodes
                    .iter()
                    .map(|one| {
                        let part = self.in_text(one);
                        if mixed { format!("CONVERT({part} USING utf8mb4)") } else { part }
                    })
                    .collect();
                format!("CONCAT({})", list.join(", "))
            }
            Op::ChangeCase { upper, value, .. } => format!("{}({})", if *upper { "UPPER" } else { "LOWER" }, self.node(value)),
            Op::Substring { value, start, length } => match length {
                Some(length) => format!("SUBSTRING({}, {}, {})", self.node(value), self.node(start), self.node(length)),
                None => format!("SUBSTRING({}, {})", self.node(value), self.node(start)),
            },
            Op::Left(value, count) => format!("LEFT({}, {})", self.node(value), self.node(count)),
            Op::Right(value, count) => format!("RIGHT({}, {})", self.node(value), self.node(count)),
            Op::Length(value) => format!("LENGTH({})", self.node(value)),
            Op::CharLength(value) => format!("CHAR_LENGTH({})", self.node(value)),
            Op::Sha256(value) => format!("SHA2({}, 256)", self.node(value)),
            Op::Cast(value) => {
                let target = match &node.kind {
                    Kind::Integer { unsigned: true, .. } => "UNSIGNED".to_owned(),
                    Kind::Integer { .. } => "SIGNED".to_owned(),
                    Kind::Decimal { precision, scale } => format!("DECIMAL({precision},{scale})"),
                    _ => "CHAR".to_owned(),
                };
                let value = if target == "CHAR" { self.in_text(value) } else { self.node(value) };
                format!("CAST({value} AS {target})")
            }
            Op::ToUtf8(value) => format!("CONVERT({} USING utf8mb4)", self.node(value)),
        }
    }

    fn list(&self, nodes: &[Node]) -> String {
        nodes.iter().map(|node| self.node(node)).collect::<Vec<_>>().join(", ")
    }

    fn joined(&self, nodes: &[Node], operator: &str) -> String {
        format!("({})", nodes.iter().map(|node| self.node(node)).collect::<Vec<_>>().join(operator))
    }

    /// A column as the value that its records have.
    fn column(&self, index: usize) -> String {
        let Some(column) = self.columns.get(index) else { return "NULL".to_owned() };
        let name = quote(&column.name);
        match &column.kind {
            // MySQL compares YEAR with 99 as with 1999, and takes BIT for bytes where text is wanted.
            ColumnType::Year | ColumnType::Bit { .. } => format!("CAST({name} AS UNSIGNED)"),
            ColumnType::Date | ColumnType::DateTime { .. } => format!("IF({}, {name}, NULL)", is_day(&name)),
            // Only a zero isn't a day there.
            ColumnType::Timestamp { .. } => format!("IF(MONTH({name}) > 0, {name}, NULL)"),
            _ => name,
        }
    }

    /// An operand of a comparison.
    fn operand(&self, how: &How, node: &Node) -> String {
        match how {
            How::Double => self.double(node),
            How::Collation(name) => self.text_operand(name, node),
            How::Utf8 => format!("CONVERT({} USING utf8mb4) COLLATE {}", self.node(node), super::collation::UTF8),
            How::Exact | How::Bytes | How::Moment | How::Time | How::Null => self.node(node),
        }
    }

    /// Text that is compared by a column's collation.
    fn text_operand(&self, collation: &str, node: &Node) -> String {
        let text = self.node(node);
        match (&node.kind, charset(collation)) {
            (Kind::Text(kind), Some(charset)) if kind.collation == Collation::Made => {
                format!("CONVERT({text} USING {charset}) COLLATE {collation}")
            }
            _ => text,
        }
    }

    /// A number as DOUBLE. Adding takes a (M,D) away, by which MySQL would round before it compares.
    fn double(&self, node: &Node) -> String {
        match &node.op {
            Op::Literal(Literal::Integer(value)) => format!("{value}e0"),
            Op::Literal(Literal::Decimal(value)) => format!("{value}e0"),
            Op::Literal(_) => self.node(node),
            _ => format!("({} + 0e0)", self.node(node)),
        }
    }

    /// An operand of arithmetic, of the signedness that is reckoned with.
    fn number(&self, result: &Kind, node: &Node) -> String {
        match (&node.op, &node.kind) {
            _ if *result == Kind::Double => self.double(node),
            (Op::Literal(_) | Op::Column(_) | Op::Arithmetic { .. } | Op::Cast(_), _) => self.node(node),
            (_, Kind::Integer { unsigned, .. }) => {
                format!("CAST({} AS {})", self.node(node), if *unsigned { "UNSIGNED" } else { "SIGNED" })
            }
            _ => self.node(node),
        }
    }

    /// Where text is wanted: a number without the zeros of ZEROFILL.
    fn in_text(&self, node: &Node) -> String {
        match (&node.op, &node.kind) {
            (Op::Column(index), Kind::Year) => self.columns.get(*index).map(|column| quote(&column.name)).unwrap_or_default(),
            (Op::Column(_), Kind::Integer { .. } | Kind::Decimal { .. }) => format!("({} + 0)", self.node(node)),
            _ => self.node(node),
        }
    }
}

/// Whether MySQL's IN is the same as comparing one by one. Up to 9.7 it takes TIME and signed numbers for unsigned ones
/// where it sorts the alternatives.
fn is_in_reliable(how: &How, value: &Node, alternatives: &[Node]) -> bool {
    let is_null = |node: &Node| matches!(node.op, Op::Literal(Literal::Null));
    match how {
        How::Time | How::Double => false,
        How::Exact => {
            let never_negative = value.kind.integer().is_some_and(|(unsigned, _)| unsigned);
            let lowest = if never_negative { 0 } else { i128::from(i64::MIN) };
            let is_alike =
                |node: &Node| matches!(node.op, Op::Literal(Literal::Integer(number)) if (lowest..=i128::from(i64::MAX)).contains(&number));
            value.kind.integer().is_some() && alternatives.iter().all(|node| is_null(node) || is_alike(node))
        }
        _ => true,
    }
}

/// Whether a date or a date with time is a day that there is.
fn is_day(name: &str) -> String {
    format!(
        "MONTH({name}) > 0 AND DAYOFMONTH({name}) BETWEEN 1 AND CASE WHEN MONTH({name}) IN (4, 6, 9, 11) THEN 30 WHEN MONTH({name}) <> 2 THEN 31 \
         WHEN YEAR({name}) % 4 = 0 AND (YEAR({name}) % 100 <> 0 OR YEAR({name}) % 400 = 0) THEN 29 ELSE 28 END"
    )
}

fn text_literal(value: &str) -> String {
    format!("_utf8mb4 X'{}'", hex(value.as_bytes()))
}

fn literal_sql(literal: &Literal, kind: &Kind) -> String {
    let fsp = match kind {
        Kind::DateTime { fsp } | Kind::Time { fsp } => *fsp,
        _ => 0,
    };
    match literal {
        Literal::Null => "NULL".to_owned(),
        Literal::Boolean(value) => if *value { "TRUE" } else { "FALSE" }.to_owned(),
        Literal::Integer(value) => value.to_string(),
        Literal::Decimal(value) => value.to_string(),
        // The shortest text that is this double, with an exponent, so that it is one to MySQL too.
        Literal::Double(value) => format!("{value:e}"),
        Literal::Text(value) => text_literal(value),
        Literal::Bytes(value) => format!("X'{}'", hex(value)),
        Literal::Date(days) => format!("DATE'{}'", text::date((*days).into())),
        Literal::DateTime(us) => format!("TIMESTAMP'{}'", text::datetime(*us, fsp)),
        Literal::Time(us) => format!("TIME'{}'", text::time(*us, fsp)),
    }
}
