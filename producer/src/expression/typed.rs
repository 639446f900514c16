//! Typed nodes from typed nodes: what can be compared with what, and as what.

use super::ExpressionError;
use super::comparer::charset;
use super::kind::{Collation, Kind, SIGNED_DIGITS, TextKind, UNSIGNED_DIGITS, count};
use super::literal;
use super::tree::{Comparison, How, Literal, Node, Op, Operator};

/// Beside each other.
pub(super) fn compare(comparison: Comparison, mut left: Node, mut right: Node) -> Result<Node, ExpressionError> {
    let how = how(&mut left, &mut right)?;
    Ok(compared(how, comparison, left, right))
}

fn compared(how: How, comparison: Comparison, left: Node, right: Node) -> Node {
    let nullable = comparison != Comparison::Same && (left.nullable || right.nullable);
    Node::condition(Op::Compare { how, comparison, left: Box::new(left), right: Box::new(right) }, nullable)
}

/// `value BETWEEN low AND high`: all three are compared in the same way.
pub(super) fn between(mut value: Node, mut low: Node, mut high: Node) -> Result<Node, ExpressionError> {
    // Twice, as a literal may become what the one after it is.
    how(&mut value, &mut low)?;
    let second = how(&mut value, &mut high)?;
    let mut hows = [how(&mut value, &mut low)?, second];
    if hows.contains(&How::Double) {
        hows = hows.map(|how| if how == How::Exact { How::Double } else { how });
    }
    let [first, second] = hows;
    let parts =
        vec![compared(first, Comparison::GreaterOrEqual, value.clone(), low), compared(second, Comparison::LessOrEqual, value, high)];
    Ok(and(parts))
}

/// `value IN (alternatives)`.
pub(super) fn within(mut value: Node, alternatives: Vec<Node>) -> Result<Node, ExpressionError> {
    let mut typed = alternatives;
    // Twice, as a literal may become what one after it is.
    for alternative in &mut typed {
        how(&mut value, alternative)?;
    }
    let hows = typed.iter_mut().map(|alternative| how(&mut value, alternative)).collect::<Result<Vec<How>, _>>()?;
    let first = hows.iter().find(|how| **how != How::Null).cloned().unwrap_or(How::Null);
    let alike = hows.iter().all(|how| *how == How::Null || *how == first);
    if alike && typed.iter().all(Node::is_literal) {
        let nullable = value.nullable || typed.iter().any(|node| node.nullable);
        return Ok(Node::condition(Op::In { how: first, value: Box::new(value), alternatives: typed }, nullable));
    }
    let equal = |(how, alternative)| compared(how, Comparison::Equal, value.clone(), alternative);
    Ok(or(hows.into_iter().zip(typed).map(equal).collect()))
}

pub(super) fn and(parts: Vec<Node>) -> Node {
    let nullable = parts.iter().any(|part| part.nullable);
    Node::condition(Op::And(parts), nullable)
}

pub(super) fn or(parts: Vec<Node>) -> Node {
    let nullable = parts.iter().any(|part| part.nullable);
    Node::condition(Op::Or(parts), nullable)
}

/// In what the two compare. A literal text becomes what the other side is, where that is a date, a time or bytes.
fn how(left: &mut Node, right: &mut Node) -> Result<How, ExpressionError> {
    for node in [&*left, &*right] {
        if let Kind::Opaque(name) = node.kind {
            return Err(opaque(name));
        }
    }
    if left.kind == Kind::Null || right.kind == Kind::Null {
        return Ok(How::Null);
    }
    convert_literal(left, &right.kind)?;
    convert_literal(right, &left.kind)?;
    Ok(match (&left.kind, &right.kind) {
        (Kind::Text(a), Kind::Text(b)) => {
            let how = texts(a, b)?;
            check_characters(&how, left)?;
            check_characters(&how, right)?;
            how
        }
        (Kind::Bytes, Kind::Bytes) => How::Bytes,
        (Kind::Time { .. }, Kind::Time { .. }) => How::Time,
        (a, b) if a.is_moment() && b.is_moment() => How::Moment,
        (a, b) if a.is_number() && b.is_number() => {
            check_year(left, right)?;
            check_year(right, left)?;
            if *a == Kind::Double || *b == Kind::Double {
                check_exponent(left, right)?;
                check_exponent(right, left)?;
                How::Double
            } else {
                How::Exact
            }
        }
        (a, b) => return Err(ExpressionError(mismatch(a, b))),
    })
}

fn opaque(name: &str) -> ExpressionError {
    ExpressionError(format!("{name} can't be compared: it can only be asked whether it IS NULL"))
}

fn mismatch(a: &Kind, b: &Kind) -> String {
    let hint = match (a, b) {
        (number, Kind::Text(_)) | (Kind::Text(_), number) if number.is_number() => "write the number without quotes, or the text in quotes",
        (Kind::Time { .. }, _) | (_, Kind::Time { .. }) => "write a time as TIME'10:00:00'",
        (moment, _) | (_, moment) if moment.is_moment() => {
            "write a date as DATE'2024-02-29' or TIMESTAMP'2024-02-29 10:00:00', the latter in UTC for a TIMESTAMP"
        }
        (Kind::Bytes, _) | (_, Kind::Bytes) => "write bytes as X'00ff'",
        _ => "compare two of one kind",
    };
    format!("{} can't be compared with {}: {hint}", a.name(), b.name())
}

/// MySQL takes 24 for 2024 where it is compared with a YEAR, and rounds 2024.5.
fn check_year(literal: &Node, other: &Node) -> Result<(), ExpressionError> {
    match literal.op {
        Op::Literal(Literal::Integer(year @ 1..=99)) if other.kind == Kind::Year => {
            Err(ExpressionError(format!("a year is compared with {year}: write it with four digits")))
        }
        Op::Literal(Literal::Decimal(year)) if other.kind == Kind::Year => {
            Err(ExpressionError(format!("a year is compared with {year}: write a whole number of four digits")))
        }
        _ => Ok(()),
    }
}

/// That a literal's characters are in the character set which it is compared in: MySQL refuses the others.
fn check_characters(how: &How, literal: &Node) -> Result<(), ExpressionError> {
    match (how, &literal.op) {
        (How::Collation(name), Op::Literal(Literal::Text(text))) => {
            match charset(name).and_then(|charset| Some((charset, lacking(charset, text)?))) {
                Some((charset, lacking)) => Err(ExpressionError(format!(
                    "the column's character set {charset} doesn't have {lacking:?}, with which it is compared"
                ))),
                None => Ok(()),
            }
        }
        _ => Ok(()),
    }
}

/// A character that the character set doesn't have, as far as that is known here: the server refuses the others.
fn lacking(charset: &str, text: &str) -> Option<char> {
    let has = |c: char| match charset {
        "ascii" => c.is_ascii(),
        "utf8mb3" | "utf8" | "ucs2" => u32::from(c) <= 0xffff,
        "latin1" => !encoding_rs::WINDOWS_1252.encode(c.encode_utf8(&mut [0; 4])).2,
        _ => true,
    };
    text.chars().find(|c| !has(*c))
}

/// MySQL compares an exact number with a literal like 1e3 as doubles, which takes digits from it.
fn check_exponent(literal: &Node, other: &Node) -> Result<(), ExpressionError> {
    match literal.op {
        Op::Literal(Literal::Double(value)) if other.kind != Kind::Double => Err(ExpressionError(format!(
            "{} is compared with the floating-point number {value:e}: write it without an exponent",
            other.kind.name()
        ))),
        _ => Ok(()),
    }
}

fn convert_literal(node: &mut Node, other: &Kind) -> Result<(), ExpressionError> {
    let Op::Literal(Literal::Text(text)) = &node.op else { return Ok(()) };
    let wrong = |what: &str| ExpressionError(format!("'{text}' isn't {what}"));
    let typed = match other {
        Kind::Bytes => Node::literal(Literal::Bytes(text.clone().into_bytes()), Kind::Bytes),
        Kind::Date | Kind::DateTime { .. } | Kind::Timestamp { .. } => literal::moment(text).ok_or_else(|| {
            wrong("a date as these are written: 2024-02-29, or 2024-02-29 10:00:00.5, and a day that there is (one that isn't counts as NULL)")
        })?,
        Kind::Time { fsp } => {
            let typed = literal::time(text).ok_or_else(|| wrong("a time as these are written: -10:00:00.5, up to 838:59:59"))?;
            // MySQL rounds such a text to the column's digits, and a typed literal not.
            if matches!(typed.kind, Kind::Time { fsp: own } if own > *fsp) {
                return Err(ExpressionError(format!("'{text}' has more digits after the point than what it is compared with: write TIME'{text}'")));
            }
            typed
        }
        _ => return Ok(()),
    };
    *node = typed;
    Ok(())
}

fn texts(a: &TextKind, b: &TextKind) -> Result<How, ExpressionError> {
    match (&a.collation, &b.collation) {
        (Collation::None, _) | (_, Collation::None) => Err(ExpressionError(
            "a text is compared whose collation isn't known, or that is made from columns of several collations: compare the columns one by one".to_owned(),
        )),
        (Collation::Column(a), Collation::Column(b)) if a != b => {
            Err(ExpressionError(format!("two texts of different collations are compared, {a} and {b}, for which MySQL has no order")))
        }
        (Collation::Column(name), _) | (_, Collation::Column(name)) => Ok(How::Collation(name.clone())),
        _ => Ok(How::Utf8),
    }
}

/// `value LIKE pattern`.
pub(super) fn like(value: Node, mut pattern: Node, escape: char) -> Result<Node, ExpressionError> {
    if value.kind == Kind::Bytes {
        convert_literal(&mut pattern, &Kind::Bytes)?;
    }
    let how = match (&value.kind, &pattern.kind) {
        (Kind::Opaque(name), _) | (_, Kind::Opaque(name)) => return Err(opaque(name)),
        (Kind::Null, _) | (_, Kind::Null) => return Ok(Node::condition(Op::Literal(Literal::Null), true)),
        (Kind::Bytes, Kind::Bytes) => How::Bytes,
        (Kind::Text(a), Kind::Text(b)) => {
            let how = texts(a, b)?;
            check_characters(&how, &value)?;
            check_characters(&how, &pattern)?;
            how
        }
        (kind, Kind::Text(_)) if kind.is_moment() => {
            return Err(ExpressionError(format!("{} isn't LIKE a text: compare it with a range, as >= and <", kind.name())));
        }
        (kind, Kind::Text(_)) => return Err(ExpressionError(format!("{} isn't LIKE a text: CAST it AS CHAR, or compare it", kind.name()))),
        (_, kind) => return Err(ExpressionError(format!("LIKE takes a pattern in quotes, not {}", kind.name()))),
    };
    if let Op::Literal(Literal::Text(text)) = &pattern.op
        && super::pattern::ends_in_escape(text, escape)
    {
        return Err(ExpressionError(format!("the pattern '{text}' ends in its escape {escape}: write it twice, or what it escapes")));
    }
    let nullable = value.nullable || pattern.nullable;
    Ok(Node::condition(Op::Like { how, value: Box::new(value), pattern: Box::new(pattern), escape }, nullable))
}

pub(super) fn arithmetic(operator: Operator, left: Node, right: Node) -> Result<Node, ExpressionError> {
    let nullable = left.nullable || right.nullable;
    let wrong = |a: &Kind, b: &Kind| ExpressionError(format!("{} is for numbers, not for {} and {}", operator.sql(), a.name(), b.name()));
    let kind = match (&left.kind, &right.kind) {
        (Kind::Null, _) | (_, Kind::Null) => return Ok(null()),
        (a, b) if *a == Kind::Boolean || *b == Kind::Boolean => return Err(wrong(a, b)),
        (a, b) if *a == Kind::Double && b.is_number() || *b == Kind::Double && a.is_number() => Kind::Double,
        (a, b) => match (a.integer().zip(b.integer()), a.digits().zip(b.digits())) {
            (Some(((a, _), (b, _))), _) => {
                let unsigned = a || b;
                Kind::Integer { unsigned, digits: if unsigned { UNSIGNED_DIGITS } else { SIGNED_DIGITS } }
            }
            (None, Some(((a, a_scale), (b, b_scale)))) => match operator {
                Operator::Plus | Operator::Minus => Kind::decimal(a.max(b).saturating_add(1), a_scale.max(b_scale))?,
                Operator::Times => Kind::decimal(a.saturating_add(b), a_scale.saturating_add(b_scale))?,
            },
            (None, None) => return Err(wrong(a, b)),
        },
    };
    Ok(Node::new(Op::Arithmetic { operator, left: Box::new(left), right: Box::new(right) }, kind, nullable))
}

pub(super) fn text_literal(text: String) -> Node {
    let chars = Some(count(&text));
    Node::literal(Literal::Text(text), Kind::Text(TextKind { collation: Collation::Literal, utf8: true, chars }))
}

pub(super) fn null() -> Node {
    Node::literal(Literal::Null, Kind::Null)
}
