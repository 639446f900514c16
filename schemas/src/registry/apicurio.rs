//! Apicurio's own API (version 2, which 3 still speaks), for ids that its Confluent API doesn't know.

use secrecy::ExposeSecret;
use serde_json::Value;

use super::{Fetched, Reference, Registry, RegistryError};

/// The group of artifacts whose group isn't told.
pub(super) const DEFAULT_GROUP: &str = "default";
/// Where the Confluent API begins in Apicurio's addresses.
const CONFLUENT_API: &str = "/apis/ccompat/";
const API: &str = "/apis/registry/v2";

/// What Apicurio's ids of eight bytes are, where a record doesn't say it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ApicurioIds {
    /// Of an artifact's version: the default of Apicurio's serializers.
    #[default]
    Global,
    /// Of a text.
    Content,
}

impl Registry {
    /// The text that is found at a path, and the references found beside it.
    pub(super) async fn fetch_apicurio(&self, what: &str, path: &str) -> Result<Fetched, RegistryError> {
        let schema = self.get(what, path).await?;
        let answer = self.get(what, &format!("{path}/references")).await?;
        let references = serde_json::from_str(&answer).ok().and_then(|references| read_references(&references));
        let references = references.ok_or_else(|| self.malformed(what, "its references aren't a list of names, artifacts and versions"))?;
        Ok(Fetched { schema, references })
    }

    async fn get(&self, what: &str, path: &str) -> Result<String, RegistryError> {
        self.each(what, |endpoint| self.get_from(&endpoint.url, what, path)).await
    }

    async fn get_from(&self, url: &str, what: &str, path: &str) -> Result<String, RegistryError> {
        let Some((base, _)) = url.split_once(CONFLUENT_API) else {
            return Err(RegistryError::NotApicurio { url: url.to_owned(), what: what.to_owned() });
        };
        let unreachable = |error: reqwest::Error| RegistryError::Unreachable {
            url: url.to_owned(),
            what: what.to_owned(),
            reason: super::error::causes(&error),
        };
        let mut request = self.inner.http.get(format!("{base}{API}{path}"));
        if let Some((user, password)) = &self.inner.user {
            request = request.basic_auth(user, password.as_ref().map(ExposeSecret::expose_secret));
        }
        let answer = request.send().await.map_err(unreachable)?;
        let status = answer.status().as_u16();
        let text = answer.text().await.map_err(unreachable)?;
        if status == 200 {
            return Ok(text);
        }
        let told = serde_json::from_str::<Value>(&text).ok().and_then(|json| Some(json.get("message")?.as_str()?.to_owned()));
        let reason = told.map_or_else(|| "no reason given".to_owned(), |message| format!("\"{message}\""));
        Err(RegistryError::of_status(status, url, what, None, reason))
    }
}

fn read_references(references: &Value) -> Option<Vec<Reference>> {
    let read = |reference: &Value| {
        let text = |key: &str| reference.get(key).and_then(Value::as_str).map(str::to_owned);
        Some(Reference {
            group: text("groupId"),
            name: text("name")?,
            subject: text("artifactId")?,
            version: text("version")?,
            registered: None,
        })
    };
    references.as_array()?.iter().map(read).collect()
}
