//! From text to a typed tree. The grammar is sqlparser's, MySQL's dialect; what of it belongs to the language is decided here, and all else refused by name.
//!
//! Where sqlparser binds operators otherwise than MySQL (XOR, and predicates within comparisons), parentheses are asked for, so that no text is understood
//! in a way that MySQL wouldn't.

mod function;

use sqlparser::ast::{BinaryOperator, Expr, Ident, UnaryOperator, Value as SqlValue};
use sqlparser::dialect::MySqlDialect;
use sqlparser::parser::Parser;
use sqlparser::tokenizer::{Token, TokenWithSpan, Tokenizer};

use super::kind::Kind;
use super::tree::{Comparison, Literal, Node, Op, Operator};
use super::{ColumnInfo, ExpressionError, literal, typed};
use crate::ddl::{SqlMode, unescape};

/// More can't be meant.
const TEXT_BYTES_MAX: usize = 64 << 10;
/// Each may be a level of the parser's own tree.
const OPERATORS_MAX: usize = 2_000;
/// Levels of the typed tree. AND and OR take one, however many are in a row.
const DEPTH_MAX: usize = 100;

/// Parses an expression over these columns.
pub(super) fn parse(text: &str, columns: &[ColumnInfo]) -> Result<Node, ExpressionError> {
    if text.len() > TEXT_BYTES_MAX {
        return Err(ExpressionError(format!("the expression has {} bytes, and at most {TEXT_BYTES_MAX} are taken", text.len())));
    }
    let tokens = tokens(text)?;
    let wrong = |error: sqlparser::parser::ParserError| ExpressionError(format!("it can't be read as SQL: {}", plain(&error.to_string())));
    let dialect = MySqlDialect {};
    let mut parser = Parser::new(&dialect).with_recursion_limit(DEPTH_MAX).with_tokens_with_locations(tokens);
    let expr = parser.parse_expr().map_err(wrong)?;
    let rest = parser.peek_token();
    if rest.token != Token::EOF {
        return Err(ExpressionError(format!("it can't be read as SQL: the expression ends before {}", rest.token)));
    }
    Typing { columns }.node(&expr, DEPTH_MAX)
}

fn plain(message: &str) -> &str {
    message.strip_prefix("sql parser error: ").unwrap_or(message)
}

/// sqlparser's tokens, their texts by MySQL's rules, which differ from its own for some escapes.
fn tokens(text: &str) -> Result<Vec<TokenWithSpan>, ExpressionError> {
    let dialect = MySqlDialect {};
    let tokens = Tokenizer::new(&dialect, text).with_unescape(false).tokenize_with_location();
    let tokens = tokens.map_err(|error| ExpressionError(format!("it can't be read as SQL: {error}")))?;
    let operators = tokens.iter().filter(|token| is_operator(&token.token)).count();
    if operators > OPERATORS_MAX {
        return Err(ExpressionError(format!(
            "the expression has {operators} operators, and at most {OPERATORS_MAX} are taken: write IN for many alternatives"
        )));
    }
    let one = |mut token: TokenWithSpan| {
        token.token = match token.token {
            Token::SingleQuotedString(raw) => Token::SingleQuotedString(unescape(&raw, '\'', SqlMode::default())),
            Token::DoubleQuotedString(raw) => Token::DoubleQuotedString(unescape(&raw, '"', SqlMode::default())),
            Token::Word(mut word) if word.quote_style == Some('`') => {
                word.value = word.value.replace("``", "`");
                Token::Word(word)
            }
            other => other,
        };
        token
    };
    Ok(tokens.into_iter().map(one).collect())
}

/// Whether the token may be an operator; too many are counted rather than too few.
fn is_operator(token: &Token) -> bool {
    match token {
        Token::Whitespace(_) | Token::Comma | Token::LParen | Token::RParen | Token::Number(..) => false,
        Token::SingleQuotedString(_) | Token::DoubleQuotedString(_) | Token::HexStringLiteral(_) => false,
        Token::Word(word) => {
            ["AND", "OR", "XOR", "NOT", "IN", "BETWEEN", "LIKE", "IS", "DIV"].iter().any(|name| word.value.eq_ignore_ascii_case(name))
        }
        _ => true,
    }
}

struct Typing<'a> {
    columns: &'a [ColumnInfo],
}

impl Typing<'_> {
    fn node(&self, expr: &Expr, depth: usize) -> Result<Node, ExpressionError> {
        let depth = depth
            .checked_sub(1)
            .ok_or_else(|| ExpressionError(format!("it has more than {DEPTH_MAX} levels of parentheses and operators")))?;
        match expr {
            Expr::Nested(inner) => self.node(inner, depth),
            Expr::Identifier(ident) => self.identifier(ident),
            Expr::Value(value) => self::value(&value.value),
            Expr::TypedString(typed) => self::typed_literal(typed),
            Expr::BinaryOp { left, op, right } => self.binary(expr, left, op, right, depth),
            Expr::UnaryOp { op, expr: inner } => self.unary(*op, inner, depth),
            Expr::IsNull(inner) => self.is_null(inner, false, depth),
            Expr::IsNotNull(inner) => self.is_null(inner, true, depth),
            Expr::IsUnknown(inner) => self.is_unknown(inner, false, depth),
            Expr::IsNotUnknown(inner) => self.is_unknown(inner, true, depth),
            Expr::IsTrue(inner) => self.is(inner, true, false, depth),
            Expr::IsNotTrue(inner) => self.is(inner, true, true, depth),
            Expr::IsFalse(inner) => self.is(inner, false, false, depth),
            Expr::IsNotFalse(inner) => self.is(inner, false, true, depth),
            Expr::InList { expr, list, negated } => {
                let value = self.operand(expr, "IN", depth)?;
                let list = list.iter().map(|one| self.node(one, depth)).collect::<Result<_, _>>()?;
                Ok(typed::within(value, list)?.negated_if(*negated))
            }
            Expr::Between { expr, negated, low, high } => {
                let [value, low, high] = [expr, low, high].map(|part| self.operand(part, "BETWEEN", depth));
                Ok(typed::between(value?, low?, high?)?.negated_if(*negated))
            }
            Expr::Like { negated, any: false, expr, pattern, escape_char } => {
                let escape = match escape_char {
                    None => '\\',
                    Some(escape) => self::escape(escape)?,
                };
                let value = self.operand(expr, "LIKE", depth)?;
                let pattern = self.operand(pattern, "LIKE", depth)?;
                Ok(typed::like(value, pattern, escape)?.negated_if(*negated))
            }
            Expr::Function(function) => self.function(function, depth),
            Expr::Substring { expr, substring_from, substring_for, .. } => {
                self.substring(expr, substring_from.as_deref(), substring_for.as_deref(), depth)
            }
            Expr::Case { operand, conditions, else_result, .. } => self.case(operand.as_deref(), conditions, else_result.as_deref(), depth),
            Expr::Cast { kind: sqlparser::ast::CastKind::Cast, expr, data_type, format: None } => self.cast(expr, data_type, depth),
            Expr::Convert { expr, data_type: None, charset: Some(charset), styles, .. } if styles.is_empty() => {
                self.convert(expr, &charset.to_string(), depth)
            }
            Expr::CompoundIdentifier(_) => Err(ExpressionError(format!("{expr}: write the column's name alone"))),
            _ => Err(unknown(&expr.to_string())),
        }
    }

    fn identifier(&self, ident: &Ident) -> Result<Node, ExpressionError> {
        if ident.quote_style.is_none() && ident.value.starts_with('@') {
            let op = match ident.value.to_ascii_lowercase().as_str() {
                "@source_database" => Op::SourceDatabase,
                "@source_table" => Op::SourceTable,
                _ => {
                    return Err(ExpressionError(format!("{} is unknown: there are @source_database and @source_table", ident.value)));
                }
            };
            // Names have 64 characters at most.
            let literal = typed::text_literal(String::new());
            let mut kind = literal.kind;
            if let Kind::Text(text) = &mut kind {
                text.chars = Some(64);
            }
            return Ok(Node::new(op, kind, false));
        }
        if ident.quote_style.is_some_and(|quote| quote != '`') {
            return Err(unknown(&ident.to_string()));
        }
        let index = self.columns.iter().position(|column| column.name == ident.value).or_else(|| {
            let wanted = ident.value.to_lowercase();
            self.columns.iter().position(|column| column.name.to_lowercase() == wanted)
        });
        let Some((index, column)) = index.and_then(|index| Some((index, self.columns.get(index)?))) else {
            return Err(ExpressionError(format!("there is no column {}", ident.value)));
        };
        // A date that isn't a day is NULL even in a column that has no NULL.
        let nullable = column.nullability != millrace_schemas::avro::Nullability::Required;
        Ok(Node::new(Op::Column(index), Kind::of(column), nullable))
    }

    fn binary(&self, whole: &Expr, left: &Expr, op: &BinaryOperator, right: &Expr, depth: usize) -> Result<Node, ExpressionError> {
        let comparison = match op {
            BinaryOperator::And | BinaryOperator::Or => return self.chain(whole, op, depth),
            BinaryOperator::Xor => {
                let [left, right] = [left, right].map(|side| self.operand(side, "XOR", depth));
                let (left, right) = (left?, right?);
                left.kind.check_condition("one side of XOR")?;
                right.kind.check_condition("one side of XOR")?;
                let nullable = left.nullable || right.nullable;
                return Ok(Node::condition(Op::Xor(Box::new(left), Box::new(right)), nullable));
            }
            BinaryOperator::Plus => return self.arithmetic(Operator::Plus, left, right, depth),
            BinaryOperator::Minus => return self.arithmetic(Operator::Minus, left, right, depth),
            BinaryOperator::Multiply => return self.arithmetic(Operator::Times, left, right, depth),
            BinaryOperator::Eq => Comparison::Equal,
            BinaryOperator::NotEq => Comparison::NotEqual,
            BinaryOperator::Lt => Comparison::Less,
            BinaryOperator::LtEq => Comparison::LessOrEqual,
            BinaryOperator::Gt => Comparison::Greater,
            BinaryOperator::GtEq => Comparison::GreaterOrEqual,
            BinaryOperator::Spaceship => Comparison::Same,
            other => return Err(unknown(&format!("the operator {other}"))),
        };
        let name = comparison.sql();
        let (left, right) = (self.operand(left, name, depth)?, self.operand(right, name, depth)?);
        typed::compare(comparison, left, right)
    }

    fn arithmetic(&self, operator: Operator, left: &Expr, right: &Expr, depth: usize) -> Result<Node, ExpressionError> {
        let (left, right) = (self.operand(left, operator.sql(), depth)?, self.operand(right, operator.sql(), depth)?);
        typed::arithmetic(operator, left, right)
    }

    /// `a AND b AND c` as one, however long it is: the parser nests it to the left.
    fn chain(&self, whole: &Expr, op: &BinaryOperator, depth: usize) -> Result<Node, ExpressionError> {
        let mut parts = Vec::new();
        let mut rest = whole;
        while let Expr::BinaryOp { left, op: found, right } = rest
            && found == op
        {
            parts.push(&**right);
            rest = left;
        }
        parts.push(rest);
        parts.reverse();
        let mut nodes = Vec::with_capacity(parts.len());
        for part in parts {
            if matches!(part, Expr::BinaryOp { op: BinaryOperator::Xor, .. }) {
                return Err(ExpressionError(format!("XOR beside {op}: put parentheses around what belongs together")));
            }
            let node = self.node(part, depth)?;
            node.kind.check_condition(&format!("one side of {op}"))?;
            nodes.push(node);
        }
        Ok(if *op == BinaryOperator::And { typed::and(nodes) } else { typed::or(nodes) })
    }

    fn unary(&self, op: UnaryOperator, inner: &Expr, depth: usize) -> Result<Node, ExpressionError> {
        match op {
            UnaryOperator::Not => {
                if matches!(inner, Expr::BinaryOp { op: BinaryOperator::Xor, .. }) {
                    return Err(ExpressionError("XOR beside NOT: put parentheses around what belongs together".to_owned()));
                }
                let node = self.node(inner, depth)?;
                node.kind.check_condition("what NOT stands before")?;
                Ok(node.negated_if(true))
            }
            UnaryOperator::Minus => literal::negative(self.node(inner, depth)?),
            UnaryOperator::Plus => self.node(inner, depth),
            other => Err(unknown(&format!("the operator {other}"))),
        }
    }

    fn is_null(&self, inner: &Expr, negated: bool, depth: usize) -> Result<Node, ExpressionError> {
        let value = self.operand(inner, "IS", depth)?;
        Ok(Node::condition(Op::IsNull(Box::new(value)), false).negated_if(negated))
    }

    fn is_unknown(&self, inner: &Expr, negated: bool, depth: usize) -> Result<Node, ExpressionError> {
        let value = self.operand(inner, "IS", depth)?;
        value.kind.check_condition("what IS UNKNOWN asks of")?;
        Ok(Node::condition(Op::IsNull(Box::new(value)), false).negated_if(negated))
    }

    fn is(&self, inner: &Expr, wanted: bool, negated: bool, depth: usize) -> Result<Node, ExpressionError> {
        let value = self.operand(inner, "IS", depth)?;
        value.kind.check_condition("what IS asks of")?;
        Ok(Node::condition(Op::Is { value: Box::new(value), wanted }, false).negated_if(negated))
    }

    /// An operand of an operator that MySQL and sqlparser bind differently against some others: those must be in parentheses.
    fn operand(&self, expr: &Expr, operator: &str, depth: usize) -> Result<Node, ExpressionError> {
        use BinaryOperator::{And, Eq, Gt, GtEq, Lt, LtEq, NotEq, Or, Spaceship, Xor};
        let is_loose = match expr {
            Expr::BinaryOp { op, .. } => matches!(op, And | Or | Xor | Eq | NotEq | Lt | LtEq | Gt | GtEq | Spaceship),
            Expr::UnaryOp { op, .. } => *op == UnaryOperator::Not,
            Expr::InList { .. } | Expr::Between { .. } | Expr::Like { .. } => true,
            Expr::IsNull(_) | Expr::IsNotNull(_) | Expr::IsUnknown(_) | Expr::IsNotUnknown(_) => true,
            Expr::IsTrue(_) | Expr::IsNotTrue(_) | Expr::IsFalse(_) | Expr::IsNotFalse(_) => true,
            _ => false,
        };
        if is_loose {
            return Err(ExpressionError(format!("{expr} beside {operator}: put parentheses around what belongs together")));
        }
        self.node(expr, depth)
    }
}

fn unknown(what: &str) -> ExpressionError {
    ExpressionError(format!("{what} isn't of the language of the rules (see the reference of rules)"))
}

fn value(value: &SqlValue) -> Result<Node, ExpressionError> {
    match value {
        SqlValue::Number(text, false) => literal::number(text),
        SqlValue::SingleQuotedString(text) | SqlValue::DoubleQuotedString(text) => Ok(typed::text_literal(text.clone())),
        SqlValue::HexStringLiteral(digits) => {
            let bytes = bytes(digits).ok_or_else(|| ExpressionError(format!("X'{digits}' isn't an even number of hexadecimal digits")))?;
            Ok(Node::literal(Literal::Bytes(bytes), Kind::Bytes))
        }
        SqlValue::Boolean(value) => Ok(Node::literal(Literal::Boolean(*value), Kind::Boolean)),
        SqlValue::Null => Ok(typed::null()),
        other => Err(unknown(&other.to_string())),
    }
}

fn bytes(digits: &str) -> Option<Vec<u8>> {
    let digits: Vec<u8> = digits.chars().map(|c| c.to_digit(16).and_then(|digit| u8::try_from(digit).ok())).collect::<Option<_>>()?;
    let (pairs, rest) = digits.as_chunks::<2>();
    rest.is_empty().then(|| pairs.iter().map(|[high, low]| high << 4 | low).collect())
}

/// `DATE'2024-02-29'`.
fn typed_literal(typed: &sqlparser::ast::TypedString) -> Result<Node, ExpressionError> {
    use sqlparser::ast::DataType;
    let text = match &typed.value.value {
        SqlValue::SingleQuotedString(text) | SqlValue::DoubleQuotedString(text) => text.as_str(),
        other => return Err(unknown(&other.to_string())),
    };
    let (node, form) = match &typed.data_type {
        DataType::Date => (literal::moment(text).filter(|node| node.kind == Kind::Date), "DATE'2024-02-29'"),
        DataType::Timestamp(None, _) => {
            (literal::moment(text).filter(|node| matches!(node.kind, Kind::DateTime { .. })), "TIMESTAMP'2024-02-29 10:00:00.5'")
        }
        DataType::Time(None, _) => (literal::time(text), "TIME'-10:00:00.5'"),
        _ => return Err(unknown(&typed.to_string())),
    };
    node.ok_or_else(|| ExpressionError(format!("{typed} isn't written as {form}, or isn't a day or time that there is")))
}

/// The character after ESCAPE. An empty text means none to newer servers, and the usual one to older ones.
fn escape(expr: &Expr) -> Result<char, ExpressionError> {
    let wrong = || ExpressionError("after ESCAPE stands one ASCII character in quotes that isn't % or _".to_owned());
    let Expr::Value(value) = expr else { return Err(wrong()) };
    let (SqlValue::SingleQuotedString(text) | SqlValue::DoubleQuotedString(text)) = &value.value else { return Err(wrong()) };
    let mut chars = text.chars();
    match (chars.next(), chars.next()) {
        (Some(escape), None) if escape.is_ascii() && !escape.is_ascii_control() && !matches!(escape, '%' | '_') => Ok(escape),
        _ => Err(wrong()),
    }
}
