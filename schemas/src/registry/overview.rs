//! How a registry is set: what it lets clients do, and which changes of a schema it takes.

use std::collections::HashSet;

use secrecy::ExposeSecret;

use super::{Registry, RegistryError, encode};

impl Registry {
    /// The subjects that there are; a registry may tell of no more than some of them.
    ///
    /// # Errors
    ///
    /// As the call failed.
    pub async fn subjects(&self) -> Result<HashSet<String>, RegistryError> {
        let what = "list the subjects";
        let text = self.ask(what, "/subjects").await?;
        serde_json::from_str::<Vec<String>>(&text)
            .map(|names| names.into_iter().collect())
            .map_err(|_| self.malformed(what, "the answer isn't a list of names"))
    }

    /// Its mode, such as `READWRITE`; none where it has no such thing.
    ///
    /// # Errors
    ///
    /// As the call failed.
    pub async fn mode(&self) -> Result<Option<String>, RegistryError> {
        self.setting("ask for the mode", "/mode", "mode").await
    }

    /// The compatibility level of a subject, or of all that have none of their own; none where it isn't set.
    ///
    /// # Errors
    ///
    /// As the call failed.
    pub async fn compatibility(&self, subject: Option<&str>) -> Result<Option<String>, RegistryError> {
        let path = match subject {
            Some(subject) => format!("/config/{}?defaultToGlobal=true", encode(subject)),
            None => "/config".to_owned(),
        };
        self.setting("ask for the compatibility level", &path, "compatibilityLevel").await
    }

    async fn setting(&self, what: &str, path: &str, key: &str) -> Result<Option<String>, RegistryError> {
        match self.ask(what, path).await {
            Ok(text) => {
                let json: Option<serde_json::Value> = serde_json::from_str(&text).ok();
                Ok(json.as_ref().and_then(|json| json.get(key)?.as_str()).map(str::to_owned))
            }
            // Registries that aren't Confluent's don't have all of it.
            Err(RegistryError::NotFound { .. } | RegistryError::Refused { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn ask(&self, what: &str, path: &str) -> Result<String, RegistryError> {
        self.each(what, |endpoint| async move {
            let unreachable = |error: reqwest::Error| RegistryError::Unreachable {
                url: endpoint.url.clone(),
                what: what.to_owned(),
                reason: super::error::causes(&error),
            };
            let mut request = self.inner.http.get(format!("{}{path}", endpoint.url));
            if let Some((user, password)) = &self.inner.user {
                request = request.basic_auth(user, password.as_ref().map(ExposeSecret::expose_secret));
            }
            let answer = request.send().await.map_err(unreachable)?;
            let status = answer.status().as_u16();
            let text = answer.text().await.map_err(unreachable)?;
            if status == 200 {
                return Ok(text);
            }
            let told = serde_json::from_str::<serde_json::Value>(&text).ok();
            let told = told.as_ref().and_then(|json| json.get("message")?.as_str()).map(|message| format!("\"{message}\""));
            Err(RegistryError::of_status(status, &endpoint.url, what, None, told.unwrap_or_else(|| "no reason given".to_owned())))
        })
        .await
    }
}
