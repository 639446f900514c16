//! YAML documents as JSON values: what `kubectl` makes of a manifest before it sends it.

use millrace_tests::failure::{Context, Failure, Result};
use saphyr_parser::{Event, Parser, ScalarStyle, StrInput};
use serde_json::{Map, Value};

/// All documents of a text.
pub(super) fn documents(text: &str) -> Result<Vec<Value>> {
    let mut parser = Parser::new_from_str(text);
    let mut found = Vec::new();
    loop {
        match next(&mut parser)? {
            Event::StreamEnd => return Ok(found),
            Event::DocumentStart(_) => {
                let begin = next(&mut parser)?;
                found.push(node(&mut parser, begin)?);
            }
            _ => {}
        }
    }
}

fn next<'a>(parser: &mut Parser<'a, StrInput<'a>>) -> Result<Event<'a>> {
    let (event, _) = parser.next_event().context("YAML without an end")??;
    Ok(event)
}

fn node<'a>(parser: &mut Parser<'a, StrInput<'a>>, begin: Event<'a>) -> Result<Value> {
    match begin {
        Event::Scalar(text, ScalarStyle::Plain, ..) => Ok(plain(&text)),
        Event::Scalar(text, ..) => Ok(Value::String(text.into_owned())),
        Event::SequenceStart(..) => {
            let mut items = Vec::new();
            loop {
                match next(parser)? {
                    Event::SequenceEnd => return Ok(Value::Array(items)),
                    event => items.push(node(parser, event)?),
                }
            }
        }
        Event::MappingStart(..) => {
            let mut map = Map::new();
            loop {
                let key = match next(parser)? {
                    Event::MappingEnd => return Ok(Value::Object(map)),
                    Event::Scalar(key, ..) => key.into_owned(),
                    event => return Err(Failure::new(format!("a key that is {event:?}"))),
                };
                let begin = next(parser)?;
                let value = node(parser, begin)?;
                if map.insert(key.clone(), value).is_some() {
                    return Err(Failure::new(format!("the key {key} is given twice")));
                }
            }
        }
        event => Err(Failure::new(format!("{event:?} in a manifest"))),
    }
}

fn plain(text: &str) -> Value {
    match text {
        "" | "~" | "null" => Value::Null,
        "true" => Value::Bool(true),
        "false" => Value::Bool(false),
        number => number.parse::<i64>().map_or_else(|_| Value::String(number.to_owned()), Value::from),
    }
}
