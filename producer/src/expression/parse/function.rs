//! Functions, CASE and casts.

use sqlparser::ast::{CaseWhen, DataType, ExactNumberInfo, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments};

use super::{Typing, unknown};
use crate::expression::collation;
use crate::expression::kind::{self, Collation, Kind, SIGNED_DIGITS, TextKind};
use crate::expression::tree::{Comparison, Literal, Node, Op};
use crate::expression::{ExpressionError, typed};

impl Typing<'_> {
    pub(super) fn function(&self, function: &Function, depth: usize) -> Result<Node, ExpressionError> {
        let name = function.name.to_string().to_ascii_uppercase();
        let plain = function.over.is_none()
            && function.filter.is_none()
            && function.null_treatment.is_none()
            && function.within_group.is_empty()
            && matches!(function.parameters, FunctionArguments::None);
        let list = match &function.args {
            FunctionArguments::List(list) if plain && list.duplicate_treatment.is_none() && list.clauses.is_empty() => &list.args,
            _ => return Err(unknown(&function.to_string())),
        };
        let arguments = || {
            list.iter()
                .map(|argument| match argument {
                    FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => self.node(expr, depth),
                    other => Err(unknown(&other.to_string())),
                })
                .collect::<Result<Vec<Node>, _>>()
        };
        match name.as_str() {
            "CONCAT" => concat(arguments()?),
            "UPPER" | "UCASE" => change_case(one(&name, arguments()?)?, true),
            "LOWER" | "LCASE" => change_case(one(&name, arguments()?)?, false),
            "SUBSTR" | "MID" | "SUBSTRING" => {
                let mut arguments = arguments()?.into_iter();
                match (arguments.next(), arguments.next(), arguments.next(), arguments.next()) {
                    (Some(value), Some(start), length, None) => substring(value, start, length),
                    _ => Err(ExpressionError(format!("{name} takes a text, a start and maybe a length"))),
                }
            }
            "LEFT" => {
                let (value, count) = two(&name, arguments()?)?;
                let nullable = value.nullable || count.nullable;
                let kind = part(&name, &value, Some(&count))?;
                Ok(Node::new(Op::Left(Box::new(value), Box::new(count)), kind, nullable))
            }
            "RIGHT" => {
                let (value, count) = two(&name, arguments()?)?;
                let nullable = value.nullable || count.nullable;
                let kind = part(&name, &value, Some(&count))?;
                Ok(Node::new(Op::Right(Box::new(value), Box::new(count)), kind, nullable))
            }
            "COALESCE" => coalesce(arguments()?),
            "IFNULL" => two(&name, arguments()?).and_then(|(first, second)| coalesce(vec![first, second])),
            "NULLIF" => {
                let (value, other) = two(&name, arguments()?)?;
                let same = typed::compare(Comparison::Equal, value.clone(), other)?;
                choose(vec![(same, typed::null())], value)
            }
            "IF" => {
                let mut arguments = arguments()?.into_iter();
                match (arguments.next(), arguments.next(), arguments.next(), arguments.next()) {
                    (Some(condition), Some(then), Some(otherwise), None) => choose(vec![(condition, then)], otherwise),
                    _ => Err(ExpressionError("IF takes a condition and two values".to_owned())),
                }
            }
            "SHA2" => sha2(arguments()?),
            "LENGTH" | "OCTET_LENGTH" => {
                let value = one(&name, arguments()?)?;
                check_bytes(&name, &value)?;
                Ok(length(Op::Length, value))
            }
            "CHAR_LENGTH" | "CHARACTER_LENGTH" => {
                let value = one(&name, arguments()?)?;
                check_text(&name, &value)?;
                Ok(length(Op::CharLength, value))
            }
            _ => Err(unknown(&format!("the function {name}"))),
        }
    }

    pub(super) fn substring(
        &self,
        value: &Expr,
        start: Option<&Expr>,
        length: Option<&Expr>,
        depth: usize,
    ) -> Result<Node, ExpressionError> {
        let Some(start) = start else { return Err(ExpressionError("SUBSTRING takes a text, a start and maybe a length".to_owned())) };
        let length = length.map(|length| self.node(length, depth)).transpose()?;
        substring(self.node(value, depth)?, self.node(start, depth)?, length)
    }

    pub(super) fn case(
        &self,
        operand: Option<&Expr>,
        conditions: &[CaseWhen],
        otherwise: Option<&Expr>,
        depth: usize,
    ) -> Result<Node, ExpressionError> {
        let operand = operand.map(|operand| self.node(operand, depth)).transpose()?;
        let mut whens = Vec::with_capacity(conditions.len());
        for when in conditions {
            let condition = self.node(&when.condition, depth)?;
            let condition = match &operand {
                Some(operand) => typed::compare(Comparison::Equal, operand.clone(), condition)?,
                None => condition,
            };
            whens.push((condition, self.node(&when.result, depth)?));
        }
        let otherwise = otherwise.map_or(Ok(typed::null()), |otherwise| self.node(otherwise, depth))?;
        choose(whens, otherwise)
    }

    pub(super) fn cast(&self, value: &Expr, data_type: &DataType, depth: usize) -> Result<Node, ExpressionError> {
        let value = self.node(value, depth)?;
        let kind = match data_type {
            DataType::Char(None) => to_text(&value)?,
            DataType::Signed | DataType::SignedInteger => to_integer(&value, false)?,
            DataType::Unsigned | DataType::UnsignedInteger => to_integer(&value, true)?,
            DataType::Decimal(size) => to_decimal(&value, size)?,
            other => {
                return Err(ExpressionError(format!("CAST is to CHAR, SIGNED, UNSIGNED and DECIMAL(p,s) here, not to {other}")));
            }
        };
        let nullable = value.nullable;
        Ok(Node::new(Op::Cast(Box::new(value)), kind, nullable))
    }

    pub(super) fn convert(&self, value: &Expr, charset: &str, depth: usize) -> Result<Node, ExpressionError> {
        if !charset.eq_ignore_ascii_case("utf8mb4") {
            return Err(ExpressionError(format!("CONVERT is USING utf8mb4 here, not {charset}")));
        }
        let value = self.node(value, depth)?;
        let chars = check_text("CONVERT", &value)?.and_then(|text| text.chars);
        if value.kind == Kind::Bytes {
            return Err(ExpressionError("CONVERT … USING takes text, not bytes".to_owned()));
        }
        let nullable = value.nullable;
        // It has utf8mb4's default collation, which a server can set.
        let kind = Kind::Text(TextKind { collation: Collation::None, utf8: true, chars });
        Ok(Node::new(Op::ToUtf8(Box::new(value)), kind, nullable))
    }
}

fn one(name: &str, arguments: Vec<Node>) -> Result<Node, ExpressionError> {
    let [value] = <[Node; 1]>::try_from(arguments).map_err(|_| ExpressionError(format!("{name} takes one value")))?;
    Ok(value)
}

fn two(name: &str, arguments: Vec<Node>) -> Result<(Node, Node), ExpressionError> {
    let [first, second] = <[Node; 2]>::try_from(arguments).map_err(|_| ExpressionError(format!("{name} takes two values")))?;
    Ok((first, second))
}

/// That it is text, bytes or NULL.
fn check_text<'a>(name: &str, value: &'a Node) -> Result<Option<&'a TextKind>, ExpressionError> {
    match &value.kind {
        Kind::Text(text) => Ok(Some(text)),
        Kind::Bytes | Kind::Null => Ok(None),
        kind => Err(ExpressionError(format!("{name} takes text, not {}: CAST it AS CHAR", kind.name()))),
    }
}

/// That its bytes are known: in the server they are those of the column's character set.
fn check_bytes(name: &str, value: &Node) -> Result<(), ExpressionError> {
    match check_text(name, value)? {
        Some(text) if !text.utf8 => Err(ExpressionError(format!(
            "{name} is of bytes, and the column's aren't UTF-8: write {name}(CONVERT(… USING utf8mb4) …), for the characters CHAR_LENGTH"
        ))),
        _ => Ok(()),
    }
}

fn check_integer(name: &str, value: &Node) -> Result<(), ExpressionError> {
    match &value.kind {
        kind if kind.integer().is_some() || *kind == Kind::Null => Ok(()),
        _ => Err(ExpressionError(format!("{name} counts with integers, not with {}", value.kind.name()))),
    }
}

fn length(op: fn(Box<Node>) -> Op, value: Node) -> Node {
    let nullable = value.nullable;
    Node::new(op(Box::new(value)), Kind::Integer { unsigned: false, digits: 10 }, nullable)
}

fn concat(arguments: Vec<Node>) -> Result<Node, ExpressionError> {
    if arguments.is_empty() {
        return Err(ExpressionError("CONCAT takes one value or more".to_owned()));
    }
    let nullable = arguments.iter().any(|argument| argument.nullable);
    if arguments.iter().all(|argument| argument.kind == Kind::Bytes) {
        return Ok(Node::new(Op::Concat(arguments), Kind::Bytes, nullable));
    }
    let mut texts = Vec::with_capacity(arguments.len());
    let mut chars = Some(0_u32);
    for argument in &arguments {
        let own = match &argument.kind {
            Kind::Text(text) => {
                texts.push(text);
                text.chars
            }
            Kind::Integer { .. } | Kind::Year | Kind::Decimal { .. } => text_chars(&argument.kind),
            Kind::Null => Some(0),
            Kind::Bits => return Err(ExpressionError("CONCAT takes a BIT for bytes: CAST it AS UNSIGNED".to_owned())),
            kind => return Err(ExpressionError(format!("CONCAT takes text, integers and decimals, not {}: CAST it AS CHAR", kind.name()))),
        };
        chars = chars.zip(own).map(|(sum, own)| sum.saturating_add(own));
    }
    let kind = TextKind { collation: kind::collation(texts.iter().copied()), utf8: texts.iter().all(|text| text.utf8), chars };
    Ok(Node::new(Op::Concat(arguments), Kind::Text(kind), nullable))
}

fn change_case(value: Node, upper: bool) -> Result<Node, ExpressionError> {
    let name = if upper { "UPPER" } else { "LOWER" };
    let (collation, kind) = match &value.kind {
        Kind::Null => return Ok(value),
        Kind::Text(text) => match &text.collation {
            Collation::Column(name) => (name.clone(), TextKind { chars: None, ..text.clone() }),
            Collation::Literal | Collation::Made => {
                (collation::UTF8.to_owned(), TextKind { collation: Collation::Made, utf8: true, chars: None })
            }
            Collation::None => return Err(ExpressionError(format!("{name} takes text of one known collation: use it on each column"))),
        },
        kind => return Err(ExpressionError(format!("{name} takes text, not {}", kind.name()))),
    };
    let nullable = value.nullable;
    Ok(Node::new(Op::ChangeCase { collation, upper, value: Box::new(value) }, Kind::Text(kind), nullable))
}

/// The kind of a part of a text or of bytes, of as many characters as the literal says.
fn part(name: &str, value: &Node, count: Option<&Node>) -> Result<Kind, ExpressionError> {
    if let Some(count) = count {
        check_integer(name, count)?;
    }
    let Some(text) = check_text(name, value)? else { return Ok(value.kind.clone()) };
    let at_most = count.and_then(|count| match &count.op {
        Op::Literal(Literal::Integer(count)) => u32::try_from((*count).max(0)).ok(),
        _ => None,
    });
    let chars = match (text.chars, at_most) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    };
    let collation = if text.collation == Collation::Literal { Collation::Made } else { text.collation.clone() };
    Ok(Kind::Text(TextKind { collation, utf8: text.utf8, chars }))
}

fn substring(value: Node, start: Node, length: Option<Node>) -> Result<Node, ExpressionError> {
    check_integer("SUBSTRING", &start)?;
    let kind = part("SUBSTRING", &value, length.as_ref())?;
    let nullable = value.nullable || start.nullable || length.as_ref().is_some_and(|length| length.nullable);
    Ok(Node::new(Op::Substring { value: Box::new(value), start: Box::new(start), length: length.map(Box::new) }, kind, nullable))
}

fn coalesce(arguments: Vec<Node>) -> Result<Node, ExpressionError> {
    if arguments.is_empty() {
        return Err(ExpressionError("COALESCE takes one value or more".to_owned()));
    }
    let kind = kind::united(&arguments.iter().collect::<Vec<_>>())?;
    let nullable = arguments.iter().all(|argument| argument.nullable);
    Ok(Node::new(Op::Coalesce(arguments), kind, nullable))
}

fn choose(whens: Vec<(Node, Node)>, otherwise: Node) -> Result<Node, ExpressionError> {
    for (condition, _) in &whens {
        condition.kind.check_condition("the condition of IF or CASE")?;
    }
    let values: Vec<&Node> = whens.iter().map(|(_, value)| value).chain(std::iter::once(&otherwise)).collect();
    let kind = kind::united(&values)?;
    let nullable = values.iter().any(|value| value.nullable);
    Ok(Node::new(Op::Case(whens, Box::new(otherwise)), kind, nullable))
}

fn sha2(arguments: Vec<Node>) -> Result<Node, ExpressionError> {
    let (value, bits) = two("SHA2", arguments)?;
    if !matches!(bits.op, Op::Literal(Literal::Integer(256 | 0))) {
        return Err(ExpressionError("SHA2 is of 256 bits here: write SHA2(x, 256)".to_owned()));
    }
    check_bytes("SHA2", &value)?;
    let nullable = value.nullable;
    Ok(Node::new(Op::Sha256(Box::new(value)), Kind::made(Some(64)), nullable))
}

/// Characters of a number or time as text, at most.
fn text_chars(kind: &Kind) -> Option<u32> {
    let with_fraction = |whole: u32, fsp: u8| whole + if fsp > 0 { 1 + u32::from(fsp) } else { 0 };
    Some(match kind {
        Kind::Boolean => 1,
        Kind::Integer { digits, .. } => 1 + u32::from(*digits),
        Kind::Year => 4,
        // A sign, a zero and a point.
        Kind::Decimal { precision, .. } => 3 + u32::from(*precision),
        Kind::Date => 10,
        Kind::DateTime { fsp } | Kind::Timestamp { fsp } => with_fraction(19, *fsp),
        Kind::Time { fsp } => with_fraction(10, *fsp),
        _ => return None,
    })
}

fn to_text(value: &Node) -> Result<Kind, ExpressionError> {
    match &value.kind {
        Kind::Null => Ok(Kind::Null),
        Kind::Bits => Err(ExpressionError("a BIT CAST AS CHAR is bytes to MySQL: CAST it AS UNSIGNED first".to_owned())),
        // It becomes one of the connection's character set.
        Kind::Text(text) => Ok(Kind::Text(TextKind { collation: Collation::None, utf8: text.utf8, chars: text.chars })),
        kind => {
            let chars = text_chars(kind).ok_or_else(|| {
                ExpressionError(format!(
                    "{} can't be CAST AS CHAR here: its text would depend on the server's version or on a character set",
                    kind.name()
                ))
            })?;
            Ok(Kind::made(Some(chars)))
        }
    }
}

fn to_integer(value: &Node, unsigned: bool) -> Result<Kind, ExpressionError> {
    let target = if unsigned { "UNSIGNED" } else { "SIGNED" };
    let lossy =
        || ExpressionError(format!("CAST AS {target} of {} may be out of range, and would then become another number", value.kind.name()));
    match &value.kind {
        Kind::Null => Ok(Kind::Null),
        kind if let Some((is_unsigned, digits)) = kind.integer() => {
            let literal = matches!(value.op, Op::Literal(Literal::Integer(number)) if number >= 0);
            let fits = if unsigned { is_unsigned || literal } else { !is_unsigned || digits < SIGNED_DIGITS };
            if fits { Ok(Kind::Integer { unsigned, digits }) } else { Err(lossy()) }
        }
        Kind::Boolean => Ok(Kind::Integer { unsigned, digits: 1 }),
        // Rounding may add a digit.
        Kind::Decimal { precision, scale } if !unsigned && precision - scale < SIGNED_DIGITS - 1 => {
            Ok(Kind::Integer { unsigned, digits: precision - scale + 1 })
        }
        Kind::Decimal { .. } => Err(lossy()),
        kind => Err(ExpressionError(format!("CAST AS {target} is of numbers here, not of {}", kind.name()))),
    }
}

fn to_decimal(value: &Node, size: &ExactNumberInfo) -> Result<Kind, ExpressionError> {
    let wrong = || ExpressionError("DECIMAL has up to 65 digits, up to 30 of them after the point: write DECIMAL(p,s)".to_owned());
    let (precision, scale) = match size {
        ExactNumberInfo::None => (10, 0),
        ExactNumberInfo::Precision(precision) => (*precision, 0),
        ExactNumberInfo::PrecisionAndScale(precision, scale) => (*precision, *scale),
    };
    let (precision, scale) = (u8::try_from(precision).map_err(|_| wrong())?, u8::try_from(scale).map_err(|_| wrong())?);
    let whole = precision.checked_sub(scale).ok_or_else(wrong)?;
    let kind = Kind::decimal(whole, scale).map_err(|_| wrong())?;
    match value.kind.digits() {
        _ if value.kind == Kind::Null => Ok(Kind::Null),
        Some((own, own_scale)) if own + u8::from(own_scale > scale) <= whole => Ok(kind),
        Some((own, own_scale)) => Err(ExpressionError(format!(
            "CAST AS DECIMAL({precision},{scale}) may be of a number out of its range, and would then become another number: DECIMAL({},{scale}) holds it",
            own + u8::from(own_scale > scale) + scale
        ))),
        None => Err(ExpressionError(format!("CAST AS DECIMAL is of exact numbers here, not of {}", value.kind.name()))),
    }
}
