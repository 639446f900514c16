//! DMS's expressions, which are SQLite's, to the language of our rules. What has no counterpart with the same result is refused by its name.

use sqlparser::ast::{
    BinaryOperator, CaseWhen, CastKind, DataType, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments, UnaryOperator, Value,
};
use sqlparser::dialect::SQLiteDialect;
use sqlparser::parser::Parser;

use crate::rules::filter::quoted;
use millrace_schemas::shape::quote;

/// An expression in our language.
pub(super) struct Translated {
    pub(super) sql: String,
    /// What is to be known of it.
    pub(super) notes: Vec<String>,
}

/// Translates an expression.
pub(super) fn translate(text: &str) -> Result<Translated, String> {
    // Names in braces may have any characters.
    let text = unbraced(text)?;
    let mut parser = Parser::new(&SQLiteDialect {}).try_with_sql(&text).map_err(|error| format!("can't be read: {error}"))?;
    let parsed = parser.parse_expr().map_err(|error| format!("can't be read: {error}"))?;
    if parser.peek_token().token != sqlparser::tokenizer::Token::EOF {
        return Err(format!("can't be read from {} on", parser.peek_token()));
    }
    let mut writer = Writer { notes: Vec::new() };
    let sql = writer.expression(&parsed)?;
    writer.notes.dedup();
    Ok(Translated { sql, notes: writer.notes })
}

/// `${NAME}` as an identifier in quotes, `$NAME` stays.
fn unbraced(text: &str) -> Result<String, String> {
    let mut out = String::new();
    let mut rest = text;
    let mut in_text = false;
    while let Some(c) = rest.chars().next() {
        if c == '\'' {
            in_text = !in_text;
        }
        if !in_text && let Some(after) = rest.strip_prefix("${") {
            let (name, tail) = after.split_once('}').ok_or("has a ${ without its }")?;
            out.push_str(&format!("\"{}\"", name.replace('"', "\"\"")));
            rest = tail;
            continue;
        }
        out.push(c);
        rest = rest.get(c.len_utf8()..).unwrap_or_default();
    }
    Ok(out)
}

struct Writer {
    notes: Vec<String>,
}

impl Writer {
    fn expression(&mut self, expression: &Expr) -> Result<String, String> {
        Ok(match expression {
            Expr::Value(value) => self.value(&value.value)?,
            Expr::Identifier(name) if name.quote_style.is_some() => column(&name.value)?,
            Expr::Identifier(name) => return Err(format!("{name}: columns are written ${name}")),
            Expr::Nested(inner) => format!("({})", self.expression(inner)?),
            Expr::UnaryOp { op: UnaryOperator::Minus, expr } => format!("-{}", self.expression(expr)?),
            Expr::UnaryOp { op: UnaryOperator::Plus, expr } => self.expression(expr)?,
            Expr::UnaryOp { op: UnaryOperator::Not, expr } => format!("NOT ({})", self.expression(expr)?),
            Expr::BinaryOp { left, op, right } => self.binary(left, op, right)?,
            Expr::IsNull(inner) => format!("({}) IS NULL", self.expression(inner)?),
            Expr::IsNotNull(inner) => format!("({}) IS NOT NULL", self.expression(inner)?),
            Expr::Between { expr, negated, low, high } => {
                self.compared(&[expr, low, high]);
                let not = if *negated { "NOT " } else { "" };
                format!("{} {not}BETWEEN {} AND {}", self.expression(expr)?, self.expression(low)?, self.expression(high)?)
            }
            Expr::InList { expr, list, negated } => {
                self.compared(&list.iter().collect::<Vec<_>>());
                let list = list.iter().map(|item| self.expression(item)).collect::<Result<Vec<_>, _>>()?.join(", ");
                format!("{} {}IN ({list})", self.expression(expr)?, if *negated { "NOT " } else { "" })
            }
            Expr::Case { operand, conditions, else_result, .. } => self.case(operand.as_deref(), conditions, else_result.as_deref())?,
            Expr::Cast { kind: CastKind::Cast, expr, data_type, .. } => {
                let to = match data_type {
                    DataType::Text => "CHAR",
                    DataType::Integer(None) | DataType::Int(None) => {
                        return Err(
                            "CAST to INTEGER: SQLite takes 0 for text that is no number; give the column a data-type instead".to_owned()
                        );
                    }
                    other => return Err(format!("CAST to {other} isn't of the language")),
                };
                format!("CAST({} AS {to})", self.expression(expr)?)
            }
            Expr::Function(function) => self.function(function)?,
            Expr::Substring { expr, substring_from: Some(from), substring_for, special, .. } => {
                if !special {
                    return Err("SUBSTRING FROM isn't SQLite's".to_owned());
                }
                self.substring(expr, from, substring_for.as_deref())?
            }
            Expr::Like { .. } | Expr::ILike { .. } => {
                return Err("LIKE: SQLite's ignores the case of ASCII letters only, MySQL's goes by the column's collation".to_owned());
            }
            other => return Err(format!("{other} isn't of the language")),
        })
    }

    fn value(&mut self, value: &Value) -> Result<String, String> {
        match value {
            Value::Placeholder(name) => self.placeholder(name),
            Value::SingleQuotedString(text) => Ok(quoted(text)),
            Value::Number(number, _) => Ok(number.to_string()),
            Value::Null => Ok("NULL".to_owned()),
            Value::Boolean(value) => Ok(if *value { "1" } else { "0" }.to_owned()),
            Value::DoubleQuotedString(name) => column(name),
            other => Err(format!("{other} isn't of the language")),
        }
    }

    fn placeholder(&mut self, written: &str) -> Result<String, String> {
        let name = written.strip_prefix('$').ok_or_else(|| format!("{written} isn't a column"))?;
        column(name)
    }

    fn binary(&mut self, left: &Expr, op: &BinaryOperator, right: &Expr) -> Result<String, String> {
        if *op == BinaryOperator::StringConcat {
            return self.concatenation(left, right);
        }
        let written = match op {
            BinaryOperator::Plus => "+",
            BinaryOperator::Minus => "-",
            BinaryOperator::Multiply => "*",
            BinaryOperator::And => "AND",
            BinaryOperator::Or => "OR",
            BinaryOperator::Eq => "=",
            BinaryOperator::NotEq => "<>",
            BinaryOperator::Lt => "<",
            BinaryOperator::LtEq => "<=",
            BinaryOperator::Gt => ">",
            BinaryOperator::GtEq => ">=",
            other => return Err(format!("the operator {other} isn't of the language")),
        };
        if matches!(written, "+" | "-" | "*") && [left, right].into_iter().any(is_concatenation) {
            return Err(format!("{written} beside ||: write parentheses"));
        }
        if matches!(written, "=" | "<>" | "<" | "<=" | ">" | ">=") {
            self.compared(&[left, right]);
        }
        Ok(format!("{} {written} {}", self.operand(left, written)?, self.operand(right, written)?))
    }

    /// What stands beside an operator, in parentheses where it has another.
    fn operand(&mut self, expression: &Expr, beside: &str) -> Result<String, String> {
        let sql = self.expression(expression)?;
        let simple = match expression {
            Expr::BinaryOp { op, .. } => {
                *op == BinaryOperator::StringConcat || op.to_string() == beside && matches!(beside, "AND" | "OR" | "+" | "*")
            }
            Expr::Value(_)
            | Expr::Identifier(_)
            | Expr::Nested(_)
            | Expr::Function(_)
            | Expr::Case { .. }
            | Expr::Cast { .. }
            | Expr::Substring { .. } => true,
            _ => false,
        };
        Ok(if simple { sql } else { format!("({sql})") })
    }

    fn concatenation(&mut self, left: &Expr, right: &Expr) -> Result<String, String> {
        let mut parts = Vec::new();
        let mut rest = left;
        while let Expr::BinaryOp { left, op: BinaryOperator::StringConcat, right } = rest {
            parts.push(&**right);
            rest = left;
        }
        parts.push(rest);
        parts.reverse();
        parts.push(right);
        let part = |part: &&Expr| match part {
            Expr::BinaryOp { op, .. } if *op != BinaryOperator::StringConcat => Err(format!("{op} beside ||: write parentheses")),
            part => self.expression(part),
        };
        Ok(format!("CONCAT({})", parts.iter().map(part).collect::<Result<Vec<_>, _>>()?.join(", ")))
    }

    /// Notes that texts compare in another way than in SQLite.
    fn compared(&mut self, operands: &[&Expr]) {
        let text = |expression: &&&Expr| matches!(**expression, Expr::Value(value) if matches!(value.value, Value::SingleQuotedString(_)));
        if operands.iter().any(|operand| text(&operand)) {
            self.notes.push("texts compare by their column's collation, as MySQL's do; SQLite compares their bytes".to_owned());
        }
    }

    fn case(&mut self, operand: Option<&Expr>, conditions: &[CaseWhen], otherwise: Option<&Expr>) -> Result<String, String> {
        let mut sql = "CASE".to_owned();
        if let Some(operand) = operand {
            sql += &format!(" {}", self.expression(operand)?);
            self.compared(&conditions.iter().map(|when| &when.condition).collect::<Vec<_>>());
        }
        for CaseWhen { condition, result } in conditions {
            sql += &format!(" WHEN {} THEN {}", self.expression(condition)?, self.expression(result)?);
        }
        if let Some(otherwise) = otherwise {
            sql += &format!(" ELSE {}", self.expression(otherwise)?);
        }
        Ok(sql + " END")
    }

    fn function(&mut self, function: &Function) -> Result<String, String> {
        let name = function.name.to_string().to_ascii_lowercase();
        let arguments = arguments(function).ok_or_else(|| format!("{name}: its arguments aren't of the language"))?;
        let own = match (name.as_str(), arguments.as_slice()) {
            ("substr" | "substring", [text, from]) => return self.substring(text, from, None),
            ("substr" | "substring", [text, from, length]) => return self.substring(text, from, Some(length)),
            ("hash_sha256", [value]) => return Ok(format!("SHA2({}, 256)", self.expression(value)?)),
            ("length", [_]) => "CHAR_LENGTH",
            ("lower", [_]) => "LOWER",
            ("upper", [_]) => "UPPER",
            ("coalesce", [_, _, ..]) => "COALESCE",
            ("ifnull", [_, _]) => "IFNULL",
            ("nullif", [_, _]) => "NULLIF",
            ("iif", [_, _, _]) => "IF",
            ("operation_indicator", _) => {
                return Err(
                    "operation_indicator: each record says what happened in its field op, and deletes are told as such; remove the rule"
                        .to_owned(),
                );
            }
            ("strftime" | "date" | "time" | "datetime" | "julianday", _) => {
                return Err(format!("{name}: times aren't formatted here; give the column as it is, or change its data-type to string"));
            }
            ("random" | "randomblob", _) => return Err(format!("{name}: the same row must give the same value each time it is read")),
            ("source_lookup" | "target_lookup", _) => return Err(format!("{name}: rows are looked up nowhere")),
            _ => return Err(format!("the function {name} with {} arguments isn't of the language", arguments.len())),
        };
        let arguments = arguments.iter().map(|argument| self.expression(argument)).collect::<Result<Vec<_>, _>>()?;
        Ok(format!("{own}({})", arguments.join(", ")))
    }

    /// Positions below 1 and lengths below 0 mean other things in SQLite.
    fn substring(&mut self, text: &Expr, from: &Expr, length: Option<&Expr>) -> Result<String, String> {
        let natural = |expression: &Expr| match expression {
            Expr::Value(value) => match &value.value {
                Value::Number(number, _) => number.to_string().parse::<u32>().ok(),
                _ => None,
            },
            _ => None,
        };
        let wrong = || "substr: its position must be a number from 1, its length one from 0".to_owned();
        let from = natural(from).filter(|from| *from > 0).ok_or_else(wrong)?;
        let length = length.map(|length| natural(length).ok_or_else(wrong)).transpose()?;
        let length = length.map(|length| format!(", {length}")).unwrap_or_default();
        Ok(format!("SUBSTRING({}, {from}{length})", self.expression(text)?))
    }
}

fn is_concatenation(expression: &Expr) -> bool {
    matches!(expression, Expr::BinaryOp { op: BinaryOperator::StringConcat, .. })
}

fn arguments<'e>(function: &'e Function) -> Option<Vec<&'e Expr>> {
    let FunctionArguments::List(list) = &function.args else { return None };
    if function.filter.is_some() || function.over.is_some() || !list.clauses.is_empty() || list.duplicate_treatment.is_some() {
        return None;
    }
    let expression = |argument: &'e FunctionArg| match argument {
        FunctionArg::Unnamed(FunctionArgExpr::Expr(expression)) => Some(expression),
        _ => None,
    };
    list.args.iter().map(expression).collect()
}

/// A column, or what DMS knows beside columns.
fn column(name: &str) -> Result<String, String> {
    Ok(match name {
        "AR_M_SOURCE_SCHEMA" => "@source_database".to_owned(),
        "AR_M_SOURCE_TABLE_NAME" => "@source_table".to_owned(),
        "AR_M_SOURCE_COLUMN_NAME" | "AR_M_SOURCE_COLUMN_DATATYPE" => {
            return Err(format!("${name} isn't known here: write the text itself"));
        }
        "AR_H_OPERATION" => return Err("$AR_H_OPERATION: each record has it in its field op; remove the rule".to_owned()),
        "AR_H_COMMIT_TIMESTAMP" | "AR_H_TIMESTAMP" => {
            return Err(format!(
                "${name}: each record has the time of its commit in source.ts_us, and ClickHouse's table can show it; remove the rule"
            ));
        }
        "AR_H_CHANGE_SEQ" => {
            return Err("$AR_H_CHANGE_SEQ: each record has its place among all changes in source.seq; remove the rule".to_owned());
        }
        "AR_H_STREAM_POSITION" => {
            return Err(
                "$AR_H_STREAM_POSITION: each record has its place in the log in source.file and source.pos; remove the rule".to_owned()
            );
        }
        name if name.starts_with("AR_H_") || name.starts_with("AR_M_") => {
            return Err(format!("${name}: MySQL's log doesn't say it; remove the rule"));
        }
        name if name.starts_with("BI__") => {
            return Err(format!("${name}: values before an update can't be computed with; add-before-image-columns gives them as columns"));
        }
        name => quote(name),
    })
}
