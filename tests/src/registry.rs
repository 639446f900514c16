//! The schema registry by its Confluent API.

use serde_json::Value;
use tokio::task::JoinSet;

use crate::failure::{Context, Failure, Result};
use crate::stack::Stack;

/// A schema's text by its id.
///
/// # Errors
/// If the registry doesn't answer or doesn't have it.
pub async fn schema(stack: &Stack, id: u32) -> Result<String> {
    let url = format!("{}/schemas/ids/{id}", stack.registry);
    let answer = stack.http.get(&url).send().await.context(&url)?;
    let status = answer.status();
    let body: Value = serde_json::from_slice(&answer.bytes().await?).context(&url)?;
    match body.get("schema").and_then(Value::as_str) {
        Some(schema) => Ok(schema.to_owned()),
        None => Err(Failure::new(format!("{url}: {status} {body}"))),
    }
}

/// All subjects whose names begin so.
///
/// # Errors
/// If the registry doesn't answer.
pub async fn subjects(stack: &Stack, prefix: &str) -> Result<Vec<String>> {
    let url = format!("{}/subjects", stack.registry);
    let body = stack.http.get(&url).send().await.context(&url)?.bytes().await?;
    let all: Vec<String> = match serde_json::from_slice(&body).context(&url)? {
        Value::Array(names) => names.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
        other => return Err(Failure::new(format!("{url}: {other}"))),
    };
    Ok(all.into_iter().filter(|name| name.starts_with(prefix)).collect())
}

/// Subjects that are deleted at the same time.
const DELETED_AT_ONCE: usize = 16;

/// Deletes subjects, for good where the registry can.
///
/// # Errors
/// If the registry doesn't answer.
pub async fn delete(stack: &Stack, subjects: &[String]) -> Result<()> {
    for some in subjects.chunks(DELETED_AT_ONCE) {
        let mut deleting = JoinSet::new();
        for subject in some {
            let (http, url) = (stack.http.clone(), format!("{}/subjects/{subject}", stack.registry));
            deleting.spawn(async move {
                http.delete(&url).send().await.context(&url)?;
                // Confluent's registry deletes in two steps; those that know one only answer with an error.
                http.delete(format!("{url}?permanent=true")).send().await.context(&url)
            });
        }
        while let Some(deleted) = deleting.join_next().await {
            deleted??;
        }
    }
    Ok(())
}
