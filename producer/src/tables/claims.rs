//! Whose each topic is: two tables may only have one where rules send both there.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use millrace_schemas::names;

use crate::error::Error;

/// Whose a topic is.
enum Claim {
    /// The producer's own.
    Own,
    /// A table's, by its name.
    Table(String),
    /// That of tables which rules send there, and whether there are several.
    Outputs { first: String, shared: Arc<AtomicBool> },
}

/// The claims on topics.
pub(super) struct Claims(Mutex<HashMap<String, Claim>>);

impl Claims {
    /// Those of the producer of that name itself: a table of such a name would write into them.
    pub(super) fn new(prefix: &str) -> Self {
        Self(Mutex::new(own_topics(prefix).into_iter().map(|topic| (topic, Claim::Own)).collect()))
    }

    /// The topic is that of a table which no rule is about.
    ///
    /// # Errors
    /// It is another's.
    pub(super) fn take(&self, topic: &str, table: &str) -> Result<(), Error> {
        let mut by_topic = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match by_topic.entry(topic.to_owned()).or_insert_with(|| Claim::Table(table.to_owned())) {
            Claim::Table(owner) if owner == table => Ok(()),
            // Rules may leave as it is what they were about before.
            Claim::Outputs { first, shared } if first == table && !shared.load(Ordering::Relaxed) => Ok(()),
            claim => Err(claim.refuse(topic, table)),
        }
    }

    /// The topic is that of a table which rules send there. Whether it shares it with others, now or later.
    ///
    /// # Errors
    /// It is that of a table which no rule is about, or the producer's own.
    pub(super) fn share(&self, topic: &str, table: &str) -> Result<Arc<AtomicBool>, Error> {
        let mut by_topic = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let outputs = || Claim::Outputs { first: table.to_owned(), shared: Arc::default() };
        if matches!(by_topic.get(topic), Some(Claim::Table(owner)) if owner == table) {
            by_topic.insert(topic.to_owned(), outputs());
        }
        match by_topic.entry(topic.to_owned()).or_insert_with(outputs) {
            Claim::Outputs { first, shared } => {
                if first != table {
                    shared.store(true, Ordering::Relaxed);
                }
                Ok(Arc::clone(shared))
            }
            claim => Err(claim.refuse(topic, table)),
        }
    }
}

impl Claim {
    fn refuse(&self, topic: &str, table: &str) -> Error {
        let first = match self {
            Self::Own => "the producer's own records".to_owned(),
            Self::Table(name) | Self::Outputs { first: name, .. } => format!("table {name}"),
        };
        Error::SameTopic { first, second: table.to_owned(), topic: topic.to_owned() }
    }
}

/// The topics that the producer writes for itself.
pub(crate) fn own_topics(prefix: &str) -> Vec<String> {
    let of: [fn(&str) -> String; 6] = [
        names::offsets_topic,
        names::signals_topic,
        names::schema_history_topic,
        names::schema_changes_topic,
        names::transaction_topic,
        names::heartbeat_topic,
    ];
    of.iter().map(|topic| topic(prefix)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_called_as_the_producers_own_records_has_no_topic() {
        let claims = Claims::new("shop");
        assert!(claims.take(&names::table_topic("shop", "millrace", "offsets"), "millrace.offsets").is_err());
        assert!(claims.take(&names::table_topic("shop", "millrace", "orders"), "millrace.orders").is_ok());
    }

    #[test]
    fn a_topic_is_shared_only_where_rules_send_all_its_tables() {
        let claims = Claims::new("p");
        let first = claims.share("p.d.t", "d.a").unwrap();
        assert!(!first.load(Ordering::Relaxed));
        assert!(claims.take("p.d.t", "d.a").is_ok(), "what rules leave as it is now");
        claims.share("p.d.t", "d.b").unwrap();
        assert!(first.load(Ordering::Relaxed), "those before hear of it");
        assert!(claims.take("p.d.t", "d.t").is_err());
        claims.take("p.d.u", "d.u").unwrap();
        assert!(claims.share("p.d.u", "d.a").is_err());
        assert!(claims.share("p.d.u", "d.u").is_ok(), "rules are about it now");
    }
}
