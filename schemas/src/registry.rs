//! The schema registry: ids for schemas, schemas for ids, and the bytes that carry an id ([`frame`](mod@frame)).
//!
//! Speaks the Confluent API through `schema_registry_converter`'s single calls. Its encoders and decoders
//! aren't used: they cache by subject, so a new schema of a subject is dropped, and they cache failures.
//! The caches here hold answers only, keyed by what was asked; a failure is asked again. Every call is
//! bounded in time, and so is the number of calls that one method makes.

mod apicurio;
mod error;
pub mod frame;
mod overview;

#[cfg(test)]
mod live;
#[cfg(test)]
mod stand_in;
#[cfg(test)]
mod tests;

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::future::Future;
use std::hash::{BuildHasher, Hash, RandomState};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use schema_registry_converter::async_impl::schema_registry::{
    SrSettings, get_referenced_schema, get_schema_by_id, is_compatible_schema, perform_sr_call, post_schema,
};
use schema_registry_converter::error::SRCError;
use schema_registry_converter::schema_registry_common::{RegisteredReference, RegisteredSchema, SchemaType, SrCall, SuppliedSchema};
use secrecy::{ExposeSecret, SecretString};
use tokio::sync::OnceCell;

pub use apicurio::ApicurioIds;
pub use error::RegistryError;
pub use frame::{FRAME_BYTES, FrameError, SchemaId, frame, unframe};

use crate::settings::Reader;

/// Entries that a cache may hold. Of a registered schema it is a hundred bytes, of one that was read its text, some KiB.
const CACHE_ENTRIES_MAX: usize = 50_000;

/// How often a refusal that contradicts the registry's own check is looked into.
const CONFLICTS_MAX: u32 = 4;
/// The pause after the first such refusal; each further one is longer by it.
const CONFLICT_PAUSE: Duration = Duration::from_millis(200);

/// Schemas that one schema may reference, those referenced by references included.
const REFERENCES_MAX: usize = 256;

/// How to reach the registry.
#[derive(Debug, Clone)]
pub struct RegistrySettings {
    /// Base addresses, without a slash at the end. The next is tried when one can't answer.
    pub urls: Vec<String>,
    /// The user of basic authentication.
    pub user: Option<String>,
    /// The user's password.
    pub password: Option<SecretString>,
    /// How long one call may take.
    pub timeout: Duration,
}

impl RegistrySettings {
    /// Reads the keys of the current section.
    pub fn read(r: &mut Reader) -> Self {
        let given = r.texts("url", None, "Address of the Confluent-compatible schema registry, path included; several are tried in turn.");
        let urls: Vec<String> =
            given.iter().flat_map(|urls| urls.split(',')).map(|url| url.trim().trim_end_matches('/').to_owned()).collect();
        if let Some(reason) = urls.iter().find_map(|url| refusal(url)) {
            r.invalid("url", reason);
        }
        let user = r.text_opt("user", "User of basic authentication; for Confluent Cloud the API key.");
        let password = r.secret_opt("password", "Password of basic authentication.");
        if password.is_some() && user.is_none() {
            r.invalid("password", "needs \"user\" as well");
        }
        let timeout = r.duration(
            "timeout",
            Duration::from_secs(10),
            Duration::from_millis(100)..=Duration::from_secs(300),
            "How long one call to the registry may take.",
        );
        Self { urls, user, password, timeout }
    }
}

/// Why an address can't be used. Doesn't show it where it may hold a password.
fn refusal(url: &str) -> Option<String> {
    let rest = url.strip_prefix("http://").or_else(|| url.strip_prefix("https://"));
    let Some(rest) = rest.filter(|rest| !rest.is_empty()) else {
        return Some("every address must start with http:// or https:// and name a host".to_owned());
    };
    let host = rest.split('/').next().unwrap_or_default();
    if host.contains('@') {
        return Some("an address must not hold a password; set \"user\" and \"password\"".to_owned());
    }
    let odd = |c: char| c.is_whitespace() || c.is_control() || c == '?' || c == '#';
    url.contains(odd).then(|| "an address must not hold a query, a fragment or a space".to_owned())
}

/// A schema with all it references.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResolvedSchema {
    /// The schema's own text.
    pub schema: Arc<str>,
    /// The schemas it references, directly or not, each after those that it references itself.
    pub references: Vec<ReferencedSchema>,
}

/// A schema that another one references.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReferencedSchema {
    /// The name it is referenced by: for Avro its full name.
    pub name: String,
    /// The subject it is registered in.
    pub subject: String,
    /// Its version in that subject.
    pub version: String,
    /// Its text.
    pub schema: Arc<str>,
}

/// A client of the registry. Its clones share the connections and the caches.
#[derive(Clone)]
pub struct Registry {
    inner: Arc<Inner>,
    apicurio_ids: ApicurioIds,
}

struct Inner {
    endpoints: Vec<Endpoint>,
    /// The endpoint that answered last.
    preferred: AtomicUsize,
    timeout: Duration,
    /// By subject and the schema's digest.
    ids: Cache<(String, [u64; 2]), u32>,
    digests: [RandomState; 2],
    schemas: Cache<SchemaId, ResolvedSchema>,
    /// For Apicurio's own API.
    http: reqwest::Client,
    user: Option<(String, Option<SecretString>)>,
}

struct Endpoint {
    url: String,
    settings: SrSettings,
}

/// A reference as a schema has it.
#[derive(Debug, Clone)]
struct Reference {
    /// Of Apicurio's own API; none for the group that has no name.
    group: Option<String>,
    name: String,
    subject: String,
    version: String,
    /// As the Confluent API has it.
    registered: Option<RegisteredReference>,
}

/// A schema's text and what it references.
struct Fetched {
    schema: String,
    references: Vec<Reference>,
}

impl fmt::Debug for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let urls: Vec<&str> = self.inner.endpoints.iter().map(|endpoint| endpoint.url.as_str()).collect();
        f.debug_struct("Registry").field("urls", &urls).finish_non_exhaustive()
    }
}

impl Registry {
    /// A client with empty caches. Doesn't connect.
    ///
    /// # Errors
    ///
    /// If there is no address, or TLS can't be set up.
    pub fn new(settings: &RegistrySettings) -> Result<Self, RegistryError> {
        // One client for each address: the crate's own failover goes on after any error, a definite
        // 404 or 409 included, and then tells the last address's error.
        let endpoints = settings.urls.iter().map(|url| endpoint(url, settings));
        let endpoints: Vec<Endpoint> = endpoints.collect::<Result<_, _>>()?;
        if endpoints.is_empty() {
            return Err(RegistryError::NoAddress);
        }
        let http = reqwest::Client::builder().build().map_err(|source| RegistryError::Http { source })?;
        let inner = Inner {
            http,
            user: settings.user.clone().map(|user| (user, settings.password.clone())),
            endpoints,
            preferred: AtomicUsize::new(0),
            timeout: settings.timeout,
            ids: Cache::default(),
            digests: [RandomState::new(), RandomState::new()],
            schemas: Cache::default(),
        };
        Ok(Self { inner: Arc::new(inner), apicurio_ids: ApicurioIds::default() })
    }

    /// The same client, which takes Apicurio's ids of eight bytes for these.
    #[must_use]
    pub fn with_apicurio_ids(self, apicurio_ids: ApicurioIds) -> Self {
        Self { apicurio_ids, ..self }
    }

    /// The id of an Avro schema in a subject. What isn't there yet is registered, if the subject's
    /// compatibility rules allow it. The answer is cached; asking for it digests the schema's text, so
    /// keep the id while the schema stays the same and don't ask for each record.
    ///
    /// # Errors
    ///
    /// [`RegistryError::Incompatible`] with the registry's reason, or [`RegistryError::Contradicting`]; else as the call failed.
    pub async fn register(&self, subject: &str, schema: &str) -> Result<u32, RegistryError> {
        let key = (subject.to_owned(), self.inner.digests.each_ref().map(|digest| digest.hash_one(schema)));
        let register = async || {
            if let Some(id) = self.lookup(subject, schema).await? {
                return Ok(id);
            }
            let mut tries = 0;
            loop {
                match self.post(subject, schema).await {
                    // Another client is first, or a call of ours that was given up still goes on there: it is registered in a moment.
                    // Whether that may be so is what the registry's own check says.
                    Err(refused @ RegistryError::Incompatible { .. }) if tries < CONFLICTS_MAX => {
                        if tries == 0 && !self.compatible(subject, schema).await? {
                            return Err(refused);
                        }
                        tries += 1;
                        if let Some(id) = self.lookup(subject, schema).await? {
                            return Ok(id);
                        }
                        tokio::time::sleep(CONFLICT_PAUSE * tries).await;
                    }
                    // Nothing is incompatible with a subject that has no schema.
                    Err(RegistryError::Incompatible { subject, reason }) if self.latest(&subject).await?.is_none() => {
                        return Err(RegistryError::Contradicting { subject, reason });
                    }
                    posted => return posted,
                }
            }
        };
        let id = self.inner.ids.get(key, register).await?;
        Ok(*id)
    }

    /// The id of a schema if it is registered in the subject. Asks the registry each time.
    ///
    /// # Errors
    ///
    /// As the call failed; that it isn't registered is None.
    pub async fn lookup(&self, subject: &str, schema: &str) -> Result<Option<u32>, RegistryError> {
        let body = serde_json::json!({ "schema": schema, "schemaType": "AVRO" }).to_string();
        let path = encode(subject);
        let what = format!("look up the schema of subject \"{subject}\"");
        let found = self.call(&what, Some(subject), async |settings| perform_sr_call(settings, SrCall::PostForVersion(&path, &body)).await);
        match found.await {
            Ok(found) => match found.id {
                Some(id) => Ok(Some(id)),
                None => Err(self.malformed(&what, "the answer has no \"id\"")),
            },
            Err(RegistryError::NotFound { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The id of a subject's newest schema; none where there is no such subject. Asks the registry each time.
    ///
    /// # Errors
    ///
    /// As the call failed.
    pub async fn latest(&self, subject: &str) -> Result<Option<u32>, RegistryError> {
        let path = encode(subject);
        let what = format!("get the newest schema of subject \"{subject}\"");
        let found = self.call(&what, Some(subject), async |settings| perform_sr_call(settings, SrCall::GetLatest(&path)).await);
        match found.await {
            Ok(found) => match found.id {
                Some(id) => Ok(Some(id)),
                None => Err(self.malformed(&what, "the answer has no \"id\"")),
            },
            Err(RegistryError::NotFound { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Whether the subject's rules would allow this schema. A subject without versions allows any, and
    /// so does a registry that has no such check: it will check when the schema is registered.
    ///
    /// # Errors
    ///
    /// As the call failed.
    pub async fn compatible(&self, subject: &str, schema: &str) -> Result<bool, RegistryError> {
        let path = encode(subject);
        let what = format!("check the schema of subject \"{subject}\"");
        let answer = self.call(&what, Some(subject), async |settings| is_compatible_schema(settings, path.clone(), supplied(schema)).await);
        match answer.await {
            Ok(compatible) => Ok(compatible),
            Err(RegistryError::NotFound { .. } | RegistryError::Refused { status: 405, .. }) => Ok(true),
            Err(RegistryError::Incompatible { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// The text of a schema by its id, from the cache if it was asked for before. What it references
    /// isn't part of the text: see [`schema_with_references`](Self::schema_with_references).
    ///
    /// # Errors
    ///
    /// [`RegistryError::NotFound`] if no schema has the id; else as the call failed.
    pub async fn schema(&self, id: u32) -> Result<Arc<str>, RegistryError> {
        Ok(Arc::clone(&self.schema_with_references(id).await?.schema))
    }

    /// A schema by its id with all it references, from the cache if it was asked for before.
    ///
    /// # Errors
    ///
    /// As [`schema`](Self::schema), and if there are too many references or they go in a circle.
    pub async fn schema_with_references(&self, id: impl Into<SchemaId>) -> Result<Arc<ResolvedSchema>, RegistryError> {
        let id = match (id.into(), self.apicurio_ids) {
            (SchemaId::Apicurio(id), ApicurioIds::Global) => SchemaId::Global(id),
            (SchemaId::Apicurio(id), ApicurioIds::Content) => SchemaId::Content(id),
            (id, _) => id,
        };
        self.inner.schemas.get(id, async || self.resolve(id).await).await
    }

    /// Depth first, so that each schema stands behind those it needs.
    async fn resolve(&self, id: SchemaId) -> Result<ResolvedSchema, RegistryError> {
        let root = self.fetch(id).await?;
        let mut references = Vec::new();
        let (mut seen, mut open) = (HashSet::new(), HashSet::new());
        let mut steps: Vec<Step> = root.references.into_iter().rev().map(Step::Fetch).collect();
        while let Some(step) = steps.pop() {
            let reference = match step {
                Step::Emit(done) => {
                    open.remove(&(done.subject.clone(), done.version.clone()));
                    references.push(done);
                    continue;
                }
                Step::Fetch(reference) => reference,
            };
            let key = (reference.subject.clone(), reference.version.clone());
            if open.contains(&key) {
                return Err(RegistryError::ReferenceCycle { id, subject: reference.subject, version: reference.version });
            }
            if !seen.insert(key.clone()) {
                continue;
            }
            if seen.len() > REFERENCES_MAX {
                return Err(RegistryError::TooManyReferences { id, max: REFERENCES_MAX });
            }
            let found = self.fetch_referenced(id, &reference).await?;
            open.insert(key);
            steps.push(Step::Emit(ReferencedSchema {
                name: reference.name,
                subject: reference.subject,
                version: reference.version,
                schema: Arc::from(found.schema),
            }));
            steps.extend(found.references.into_iter().rev().map(Step::Fetch));
        }
        Ok(ResolvedSchema { schema: Arc::from(root.schema), references })
    }

    async fn fetch(&self, id: SchemaId) -> Result<Fetched, RegistryError> {
        let what = format!("get the schema with {}", id.words());
        match id {
            SchemaId::Confluent(id) => {
                let found = self.call(&what, None, async |settings| get_schema_by_id(id, settings).await).await?;
                fetched(found, &what)
            }
            SchemaId::Apicurio(id) | SchemaId::Global(id) => self.fetch_apicurio(&what, &format!("/ids/globalIds/{id}")).await,
            SchemaId::Content(id) => self.fetch_apicurio(&what, &format!("/ids/contentIds/{id}")).await,
        }
    }

    async fn fetch_referenced(&self, id: SchemaId, reference: &Reference) -> Result<Fetched, RegistryError> {
        let Reference { group, subject, version, .. } = reference;
        let what = format!("get version {version} of subject \"{subject}\", which the schema with {} references", id.words());
        let Some(mut path) = reference.registered.clone() else {
            let group = encode(group.as_deref().unwrap_or(apicurio::DEFAULT_GROUP));
            let path = format!("/groups/{group}/artifacts/{}/versions/{}", encode(subject), encode(version));
            return self.fetch_apicurio(&what, &path).await;
        };
        path.subject = encode(subject);
        let call = async |settings: &SrSettings| get_referenced_schema(settings, &path).await;
        fetched(self.call(&what, None, call).await?, &what)
    }

    async fn post(&self, subject: &str, schema: &str) -> Result<u32, RegistryError> {
        let path = encode(subject);
        let what = format!("register the schema of subject \"{subject}\"");
        let posted = self.call(&what, Some(subject), async |settings| post_schema(settings, path.clone(), supplied(schema)).await);
        Ok(posted.await?.id)
    }

    /// One call of the Confluent API, see [`each`](Self::each).
    async fn call<'a, T, F>(&'a self, what: &str, subject: Option<&str>, call: impl Fn(&'a SrSettings) -> F) -> Result<T, RegistryError>
    where
        F: Future<Output = Result<T, SRCError>>,
    {
        self.each(what, |endpoint| {
            let answer = call(&endpoint.settings);
            async move { answer.await.map_err(|error| RegistryError::of_call(error, &endpoint.url, what, subject)) }
        })
        .await
    }

    /// One call, at the endpoint that answered last, and at the others while the error is transient.
    async fn each<'a, T, F>(&'a self, what: &str, call: impl Fn(&'a Endpoint) -> F) -> Result<T, RegistryError>
    where
        F: Future<Output = Result<T, RegistryError>>,
    {
        let inner = &*self.inner;
        let first = inner.preferred.load(Ordering::Relaxed);
        let mut last = RegistryError::NoAddress;
        for turn in 0..inner.endpoints.len() {
            let index = (first + turn) % inner.endpoints.len();
            let endpoint = &inner.endpoints[index];
            last = match tokio::time::timeout(inner.timeout, call(endpoint)).await {
                Ok(Ok(answer)) => {
                    inner.preferred.store(index, Ordering::Relaxed);
                    return Ok(answer);
                }
                Ok(Err(error)) => error,
                Err(_) => RegistryError::Timeout { url: endpoint.url.clone(), what: what.to_owned(), timeout: inner.timeout },
            };
            if !last.is_transient() {
                return Err(last);
            }
        }
        Err(last)
    }

    fn malformed(&self, what: &str, reason: &str) -> RegistryError {
        let index = self.inner.preferred.load(Ordering::Relaxed);
        let url = self.inner.endpoints.get(index).map_or("", |endpoint| &endpoint.url);
        RegistryError::Malformed { url: url.to_owned(), what: what.to_owned(), reason: reason.to_owned() }
    }
}

enum Step {
    Fetch(Reference),
    Emit(ReferencedSchema),
}

fn endpoint(url: &str, settings: &RegistrySettings) -> Result<Endpoint, RegistryError> {
    let mut builder = SrSettings::new_builder(url.to_owned());
    // Ours, in `call`, is the one that counts; this one ends what ours has given up.
    builder.set_timeout(settings.timeout.saturating_mul(2));
    if let Some(user) = &settings.user {
        builder.set_basic_authorization(user, settings.password.as_ref().map(ExposeSecret::expose_secret));
    }
    let client = builder.build().map_err(|source| RegistryError::Client { url: url.to_owned(), source })?;
    Ok(Endpoint { url: url.to_owned(), settings: client })
}

fn supplied(schema: &str) -> SuppliedSchema {
    SuppliedSchema::new(None, SchemaType::Avro, schema.to_owned())
}

fn fetched(found: RegisteredSchema, what: &str) -> Result<Fetched, RegistryError> {
    match &found.schema_type {
        SchemaType::Avro => {}
        other => return Err(RegistryError::NotAvro { what: what.to_owned(), schema_type: format!("{other:?}") }),
    }
    let references = found.references.into_iter().map(|reference| Reference {
        group: None,
        name: reference.name.clone(),
        subject: reference.subject.clone(),
        version: reference.version.to_string(),
        registered: Some(reference),
    });
    Ok(Fetched { schema: found.schema, references: references.collect() })
}

/// A subject as one segment of a URL's path. The crate escapes no more than a slash, and not always.
fn encode(subject: &str) -> String {
    let mut path = String::with_capacity(subject.len());
    for byte in subject.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => path.push(char::from(byte)),
            _ => path.push_str(&format!("%{byte:02X}")),
        }
    }
    path
}

/// Answers by question. Those who ask the same at the same time wait for one call.
struct Cache<K, V> {
    cells: Mutex<HashMap<K, Arc<OnceCell<Arc<V>>>>>,
}

impl<K, V> Default for Cache<K, V> {
    fn default() -> Self {
        Self { cells: Mutex::default() }
    }
}

impl<K: Eq + Hash + Clone, V> Cache<K, V> {
    async fn get(&self, key: K, ask: impl AsyncFnOnce() -> Result<V, RegistryError>) -> Result<Arc<V>, RegistryError> {
        let cell = self.with(|cells| {
            if cells.len() >= CACHE_ENTRIES_MAX && !cells.contains_key(&key) {
                // What is still in use comes back with one call each.
                cells.clear();
            }
            Arc::clone(cells.entry(key.clone()).or_default())
        });
        let answer = cell.get_or_try_init(async || ask().await.map(Arc::new)).await.cloned();
        if answer.is_err() {
            self.with(|cells| {
                if cells.get(&key).is_some_and(|cell| !cell.initialized()) {
                    cells.remove(&key);
                }
            });
        }
        answer
    }

    fn with<T>(&self, f: impl FnOnce(&mut HashMap<K, Arc<OnceCell<Arc<V>>>>) -> T) -> T {
        // A panic while the lock was held can't have left half an entry.
        f(&mut self.cells.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
