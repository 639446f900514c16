//! The value of a typed tree on a row.

use std::borrow::Cow;
use std::cmp::Ordering;

use super::comparer::{Comparer, hex};
use super::decimal::Decimal;
use super::kind::Kind;
use super::tree::{Comparison, How, Literal, Node, Op, Operator};
use super::value::Value;
use super::{ColumnInfo, Context, EvaluationError, Malformed, RowView, collation, column, pattern, text};

const US_PER_DAY: i64 = 86_400_000_000;

/// One row, and all else that values come from.
pub(super) struct Evaluation<'a, 'c> {
    pub(super) columns: &'a [ColumnInfo],
    pub(super) row: RowView<'a>,
    pub(super) context: Context<'a>,
    pub(super) comparer: &'c dyn Comparer,
}

type Evaluated<T> = Result<T, EvaluationError>;

impl<'a> Evaluation<'a, '_> {
    pub(super) fn value(&self, node: &'a Node) -> Evaluated<Value<'a>> {
        Ok(match &node.op {
            Op::Literal(literal) => literal_value(literal),
            Op::Column(index) => self.column(*index)?,
            Op::SourceDatabase => Value::Text(Cow::Borrowed(self.context.database)),
            Op::SourceTable => Value::Text(Cow::Borrowed(self.context.table)),
            Op::Compare { .. }
            | Op::In { .. }
            | Op::Like { .. }
            | Op::IsNull(_)
            | Op::Is { .. }
            | Op::And(_)
            | Op::Or(_)
            | Op::Xor(..)
            | Op::Not(_) => self.truth(node)?.map_or(Value::Null, Value::Boolean),
            Op::Arithmetic { operator, left, right } => {
                let (left, right) = (self.value(left)?, self.value(right)?);
                arithmetic(*operator, &node.kind, &left, &right)?
            }
            Op::Coalesce(nodes) => {
                for one in nodes {
                    let value = self.value(one)?;
                    if !value.is_null() {
                        return Ok(converted(value, &node.kind));
                    }
                }
                Value::Null
            }
            Op::Case(whens, otherwise) => {
                for (condition, then) in whens {
                    if self.truth(condition)? == Some(true) {
                        return Ok(converted(self.value(then)?, &node.kind));
                    }
                }
                converted(self.value(otherwise)?, &node.kind)
            }
            Op::Concat(nodes) => self.concat(nodes, node.kind == Kind::Bytes)?,
            Op::ChangeCase { collation, upper, value } => self.change_case(collation, *upper, value)?,
            Op::Substring { value, start, length } => {
                let (Some(start), length) = (self.integer(start)?, length.as_deref().map(|length| self.integer(length)).transpose()?)
                else {
                    return Ok(Value::Null);
                };
                match length {
                    Some(None) => Value::Null,
                    length => cut(self.value(value)?, |count| substring(count, start, length.flatten())),
                }
            }
            Op::Left(value, length) => match self.integer(length)? {
                Some(length) => cut(self.value(value)?, |count| (0, clamp(length, count))),
                None => Value::Null,
            },
            Op::Right(value, length) => match self.integer(length)? {
                Some(length) => cut(self.value(value)?, |count| (count - clamp(length, count), count)),
                None => Value::Null,
            },
            Op::Length(value) => match self.value(value)? {
                Value::Text(text) => count(text.len()),
                Value::Bytes(bytes) => count(bytes.len()),
                _ => Value::Null,
            },
            Op::CharLength(value) => match self.value(value)? {
                Value::Text(text) => count(text.chars().count()),
                Value::Bytes(bytes) => count(bytes.len()),
                _ => Value::Null,
            },
            Op::Sha256(value) => match self.value(value)? {
                Value::Text(text) => digest(text.as_bytes()),
                Value::Bytes(bytes) => digest(&bytes),
                _ => Value::Null,
            },
            Op::Cast(value) => self.cast(value, &node.kind)?,
            Op::ToUtf8(value) => self.value(value)?,
        })
    }

    /// True, false or, as None, NULL.
    pub(super) fn truth(&self, node: &'a Node) -> Evaluated<Option<bool>> {
        Ok(match &node.op {
            Op::Compare { how, comparison, left, right } => {
                let (left, right) = (self.value(left)?, self.value(right)?);
                if left.is_null() || right.is_null() {
                    return Ok((*comparison == Comparison::Same).then(|| left.is_null() && right.is_null()));
                }
                let order = self.compare(how, &left, &right)?;
                Some(match comparison {
                    Comparison::Equal | Comparison::Same => order.is_eq(),
                    Comparison::NotEqual => order.is_ne(),
                    Comparison::Less => order.is_lt(),
                    Comparison::LessOrEqual => order.is_le(),
                    Comparison::Greater => order.is_gt(),
                    Comparison::GreaterOrEqual => order.is_ge(),
                })
            }
            Op::In { how, value, alternatives } => self.within(how, value, alternatives)?,
            Op::Like { how, value, pattern, escape } => self.like(how, value, pattern, *escape)?,
            Op::IsNull(value) => Some(self.value(value)?.is_null()),
            Op::Is { value, wanted } => Some(self.truth(value)? == Some(*wanted)),
            Op::And(nodes) => self.all(nodes, true)?,
            Op::Or(nodes) => self.all(nodes, false)?,
            Op::Xor(left, right) => self.truth(left)?.zip(self.truth(right)?).map(|(left, right)| left != right),
            Op::Not(inner) => self.truth(inner)?.map(|truth| !truth),
            _ => match self.value(node)? {
                Value::Boolean(truth) => Some(truth),
                Value::Integer(number) => Some(number != 0),
                _ => None,
            },
        })
    }

    /// AND, where `neutral` is true, or OR: the other value decides, else NULL, else all were neutral.
    fn all(&self, nodes: &'a [Node], neutral: bool) -> Evaluated<Option<bool>> {
        let mut result = Some(neutral);
        for node in nodes {
            match self.truth(node)? {
                Some(truth) if truth != neutral => return Ok(Some(truth)),
                Some(_) => {}
                None => result = None,
            }
        }
        Ok(result)
    }

    fn within(&self, how: &How, value: &'a Node, alternatives: &'a [Node]) -> Evaluated<Option<bool>> {
        let value = self.value(value)?;
        if value.is_null() {
            return Ok(None);
        }
        let mut result = Some(false);
        for alternative in alternatives {
            let alternative = self.value(alternative)?;
            if alternative.is_null() {
                result = None;
            } else if self.compare(how, &value, &alternative)?.is_eq() {
                return Ok(Some(true));
            }
        }
        Ok(result)
    }

    fn column(&self, index: usize) -> Evaluated<Value<'a>> {
        let missing = || EvaluationError::Encoded { column: format!("number {index}"), cause: Malformed::Span };
        let info = self.columns.get(index).ok_or_else(missing)?;
        let encoded = |cause| EvaluationError::Encoded { column: info.name.clone(), cause };
        let bytes = self.row.spans.get(index).and_then(|span| self.row.row.get(span.clone())).ok_or_else(|| encoded(Malformed::Span))?;
        column::read(info, bytes).map_err(encoded)
    }

    fn compare(&self, how: &How, left: &Value<'_>, right: &Value<'_>) -> Evaluated<Ordering> {
        let order = match how {
            How::Exact => match (left, right) {
                (Value::Integer(a), Value::Integer(b)) => Some(a.cmp(b)),
                _ => decimal(left).zip(decimal(right)).map(|(a, b)| a.cmp(&b)),
            },
            How::Double => double(left).zip(double(right)).and_then(|(a, b)| a.partial_cmp(&b)),
            How::Collation(name) => match (left, right) {
                (Value::Text(a), Value::Text(b)) => Some(self.compare_texts(name, a, b)?),
                _ => None,
            },
            How::Utf8 => match (left, right) {
                (Value::Text(a), Value::Text(b)) => Some(self.compare_texts(collation::UTF8, a, b)?),
                _ => None,
            },
            How::Bytes => match (left, right) {
                (Value::Bytes(a), Value::Bytes(b)) => Some(a.cmp(b)),
                _ => None,
            },
            How::Moment => moment(left).zip(moment(right)).map(|(a, b)| a.cmp(&b)),
            How::Time => match (left, right) {
                (Value::Time(a), Value::Time(b)) => Some(a.cmp(b)),
                _ => None,
            },
            How::Null => None,
        };
        order.ok_or(EvaluationError::Untyped)
    }

    fn compare_texts(&self, collation: &str, a: &str, b: &str) -> Evaluated<Ordering> {
        match collation::compare(collation, a, b) {
            Some(order) => Ok(order),
            None => self.comparer.compare(collation, a, b).map_err(|cause| unanswered(collation, cause)),
        }
    }

    fn like(&self, how: &How, value: &'a Node, pattern: &'a Node, escape: char) -> Evaluated<Option<bool>> {
        let collation = if let How::Collation(name) = how { name } else { collation::UTF8 };
        Ok(match (self.value(value)?, self.value(pattern)?) {
            (Value::Bytes(value), Value::Bytes(pattern)) => {
                let parts = pattern::parts(pattern.iter().copied(), u8::try_from(escape).ok());
                Some(pattern::matches(&value, &parts, |a: u8, b| a == b))
            }
            (Value::Text(value), Value::Text(pattern)) => Some(match collation::like(collation, &value, &pattern, escape) {
                Some(answer) => answer,
                None => {
                    let pattern = pattern::with_backslash(&pattern, escape);
                    self.comparer.like(collation, &value, &pattern).map_err(|cause| unanswered(collation, cause))?
                }
            }),
            _ => None,
        })
    }

    fn change_case(&self, collation: &str, upper: bool, value: &'a Node) -> Evaluated<Value<'a>> {
        let Value::Text(text) = self.value(value)? else { return Ok(Value::Null) };
        let changed = match collation::change_case(collation, &text, upper) {
            Some(changed) => Ok(changed),
            None if upper => self.comparer.upper(collation, &text),
            None => self.comparer.lower(collation, &text),
        };
        changed.map(|text| Value::Text(Cow::Owned(text))).map_err(|cause| unanswered(collation, cause))
    }

    fn integer(&self, node: &'a Node) -> Evaluated<Option<i128>> {
        Ok(match self.value(node)? {
            Value::Integer(number) => Some(number),
            _ => None,
        })
    }

    fn concat(&self, nodes: &'a [Node], bytes: bool) -> Evaluated<Value<'a>> {
        if bytes {
            let mut all = Vec::new();
            for node in nodes {
                let Value::Bytes(part) = self.value(node)? else { return Ok(Value::Null) };
                all.extend_from_slice(&part);
            }
            return Ok(Value::Bytes(Cow::Owned(all)));
        }
        let mut all = String::new();
        for node in nodes {
            match self.text(node)? {
                Some(text) => all.push_str(&text),
                None => return Ok(Value::Null),
            }
        }
        Ok(Value::Text(Cow::Owned(all)))
    }

    fn text(&self, node: &'a Node) -> Evaluated<Option<Cow<'a, str>>> {
        Ok(text::of(self.value(node)?, &node.kind))
    }

    fn cast(&self, inner: &'a Node, kind: &Kind) -> Evaluated<Value<'a>> {
        Ok(match kind {
            Kind::Text(_) => self.text(inner)?.map_or(Value::Null, Value::Text),
            kind => converted(self.value(inner)?, kind),
        })
    }
}

fn unanswered(collation: &str, cause: String) -> EvaluationError {
    EvaluationError::Comparer { collation: collation.to_owned(), cause }
}

fn literal_value(literal: &Literal) -> Value<'_> {
    match literal {
        Literal::Null => Value::Null,
        Literal::Boolean(value) => Value::Boolean(*value),
        Literal::Integer(value) => Value::Integer(*value),
        Literal::Decimal(value) => Value::Decimal(*value),
        Literal::Double(value) => Value::Double(*value),
        Literal::Text(text) => Value::Text(Cow::Borrowed(text)),
        Literal::Bytes(bytes) => Value::Bytes(Cow::Borrowed(bytes)),
        Literal::Date(days) => Value::Date(*days),
        Literal::DateTime(us) => Value::DateTime(*us),
        Literal::Time(us) => Value::Time(*us),
    }
}

fn integer(value: &Value<'_>) -> Option<i128> {
    match value {
        Value::Integer(number) => Some(*number),
        Value::Boolean(truth) => Some(i128::from(*truth)),
        _ => None,
    }
}

fn decimal(value: &Value<'_>) -> Option<Decimal> {
    match value {
        Value::Decimal(number) => Some(*number),
        other => integer(other).map(Decimal::from_integer),
    }
}

/// The nearest double.
fn double(value: &Value<'_>) -> Option<f64> {
    match value {
        Value::Double(number) => Some(*number),
        other => decimal(other).map(Decimal::to_double),
    }
}

/// µs since 1970, of UTC or of the wall clock as if it were UTC's.
fn moment(value: &Value<'_>) -> Option<i64> {
    match value {
        Value::Date(days) => Some(i64::from(*days) * US_PER_DAY),
        Value::DateTime(us) | Value::Timestamp(us) => Some(*us),
        _ => None,
    }
}

/// A value as one of a kind that holds it, as CASE and CAST make it.
fn converted<'a>(value: Value<'a>, kind: &Kind) -> Value<'a> {
    match (kind, &value) {
        (_, Value::Null) => Value::Null,
        (Kind::Integer { .. }, Value::Decimal(number)) => number.to_integer().map_or(Value::Null, Value::Integer),
        (Kind::Integer { .. }, _) => integer(&value).map_or(value, Value::Integer),
        (Kind::Decimal { scale, .. }, _) => decimal(&value).and_then(|number| number.rescaled(*scale)).map_or(value, Value::Decimal),
        (Kind::Double, _) => double(&value).map_or(value, Value::Double),
        _ => value,
    }
}

fn arithmetic<'a>(operator: Operator, kind: &Kind, left: &Value<'_>, right: &Value<'_>) -> Evaluated<Value<'a>> {
    if left.is_null() || right.is_null() {
        return Ok(Value::Null);
    }
    match kind {
        Kind::Integer { unsigned, .. } => {
            let result = integer(left).zip(integer(right)).and_then(|(a, b)| match operator {
                Operator::Plus => a.checked_add(b),
                Operator::Minus => a.checked_sub(b),
                Operator::Times => a.checked_mul(b),
            });
            // A product of -2^63 is out of range to 8.0.15, which multiplies without the sign; so it is here for all.
            let lowest = i128::from(i64::MIN) + i128::from(operator == Operator::Times);
            let range = if *unsigned { 0..=i128::from(u64::MAX) } else { lowest..=i128::from(i64::MAX) };
            let name = if *unsigned { "a BIGINT UNSIGNED result" } else { "a BIGINT result" };
            result.filter(|result| range.contains(result)).map(Value::Integer).ok_or(EvaluationError::OutOfRange(name))
        }
        Kind::Double => {
            let result = double(left).zip(double(right)).map(|(a, b)| match operator {
                Operator::Plus => a + b,
                Operator::Minus => a - b,
                Operator::Times => a * b,
            });
            result.filter(|result| result.is_finite()).map(Value::Double).ok_or(EvaluationError::OutOfRange("a DOUBLE result"))
        }
        _ => {
            let result = decimal(left).zip(decimal(right)).and_then(|(a, b)| match operator {
                Operator::Plus => a.plus(b),
                Operator::Minus => a.plus(b.negated()),
                Operator::Times => a.times(b),
            });
            result.map(Value::Decimal).ok_or(EvaluationError::OutOfRange("a DECIMAL result"))
        }
    }
}

fn count<'a>(count: usize) -> Value<'a> {
    Value::Integer(i128::try_from(count).unwrap_or(i128::MAX))
}

fn digest<'a>(bytes: &[u8]) -> Value<'a> {
    Value::Text(Cow::Owned(hex(&openssl::sha::sha256(bytes))))
}

/// A number within 0 and the count.
fn clamp(number: i128, count: usize) -> usize {
    usize::try_from(number.max(0)).unwrap_or(usize::MAX).min(count)
}

/// Where SUBSTRING begins and ends among that many characters.
fn substring(count: usize, start: i128, length: Option<i128>) -> (usize, usize) {
    let total = i128::try_from(count).unwrap_or(i128::MAX);
    let from = match start {
        1.. => start - 1,
        0 => return (0, 0),
        // From the end; from before the beginning there is nothing.
        _ if start < -total => return (0, 0),
        _ => total + start,
    };
    let from = clamp(from, count);
    let to = length.map_or(count, |length| from.saturating_add(clamp(length, count)).min(count));
    (from, to)
}

/// The characters of a text, or the bytes, from one place up to another.
fn cut<'a>(value: Value<'a>, range: impl Fn(usize) -> (usize, usize)) -> Value<'a> {
    match value {
        Value::Text(text) => {
            let (from, to) = range(text.chars().count());
            let place = |nth: usize| text.char_indices().nth(nth).map_or(text.len(), |(at, _)| at);
            let (from, to) = (place(from), place(to));
            Value::Text(match text {
                Cow::Borrowed(text) => Cow::Borrowed(text.get(from..to).unwrap_or_default()),
                Cow::Owned(text) => Cow::Owned(text.get(from..to).unwrap_or_default().to_owned()),
            })
        }
        Value::Bytes(bytes) => {
            let (from, to) = range(bytes.len());
            Value::Bytes(match bytes {
                Cow::Borrowed(bytes) => Cow::Borrowed(bytes.get(from..to).unwrap_or_default()),
                Cow::Owned(bytes) => Cow::Owned(bytes.get(from..to).unwrap_or_default().to_vec()),
            })
        }
        _ => Value::Null,
    }
}
