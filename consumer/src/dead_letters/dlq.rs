//! `millrace-consumer dlq`: the dead letters listed, shown, loaded after all, or taken away.
//!
//! A letter is loaded as the consumer would have loaded its record: into the table of its topic, under its own partition and offset, with its
//! own place in the order of its row's changes. So an old version of a mirror's row stays an old version, and a history gets the change once.

use std::fmt::Write as _;
use std::sync::Arc;

use apache_avro::Schema;
use apache_avro::reader::datum::GenericDatumReader;
use apache_avro::types::Value;
use millrace_schemas::registry::{Registry, SchemaId, unframe};
use millrace_schemas::service::page::aligned;
use serde_json::json;

use crate::clickhouse::SealedBlock;
use crate::dead_letters::queue::{DeadLetterQueue, Letter};
use crate::error::{Error, Place};
use crate::load::batch::Batch;
use crate::load::loading::{SPENT_MAX, acknowledged_in_vain, unspent};
use crate::load::topic::{Incoming, Outcome, Topic};
use crate::rules::{Mode, matches};
use crate::settings::Settings;
use crate::table::target::Preparer;

/// Which letters are meant.
#[derive(Debug, Clone, Default)]
pub struct Selection {
    /// These; empty: all.
    pub places: Vec<Place>,
    /// Only of topics that match this pattern.
    pub topic: Option<String>,
}

/// Reads a place as it is printed: `topic/partition/offset`.
///
/// # Errors
/// What is wrong with it.
pub fn parse_place(text: &str) -> Result<Place, String> {
    let parse = || {
        let (rest, offset) = text.rsplit_once('/')?;
        let (topic, partition) = rest.rsplit_once('/')?;
        let place = Place { topic: Arc::from(topic), partition: partition.parse().ok()?, offset: offset.parse().ok()? };
        (!topic.is_empty() && place.partition >= 0 && place.offset >= 0).then_some(place)
    };
    parse().ok_or_else(|| format!("'{text}' is no place of a record; write topic/partition/offset, as 'dlq list' prints it"))
}

/// How a place is printed.
#[must_use]
pub fn shown(place: &Place) -> String {
    format!("{}/{}/{}", place.topic, place.partition, place.offset)
}

/// What became of the letters.
#[derive(Debug, Clone, Default)]
pub struct Outcomes {
    /// Loaded, or taken away.
    pub done: Vec<Place>,
    /// Left where they are, and why.
    pub left: Vec<(Place, String)>,
}

/// The commands.
#[derive(Debug)]
pub struct Dlq {
    queue: DeadLetterQueue,
    preparer: Preparer,
}

impl Dlq {
    /// The commands, for a consumer's settings. Doesn't connect.
    ///
    /// # Errors
    /// [`Error::KafkaProperties`], [`Error::Registry`]
    pub fn new(settings: &Settings) -> Result<Self, Error> {
        let registry = Registry::new(&settings.registry)?.with_apicurio_ids(settings.apicurio_ids);
        let queue = DeadLetterQueue::new(settings, registry.clone())?;
        let preparer = Preparer::new(registry, &settings.clickhouse, Arc::clone(&settings.rules));
        Ok(Self { queue, preparer })
    }

    /// The letters that are meant, in the order they came; also the places of which there is none.
    ///
    /// # Errors
    /// [`Error::DeadLetter`]
    pub async fn find(&self, selection: &Selection) -> Result<(Vec<Letter>, Vec<Place>), Error> {
        let topics = self.queue.topics().await?;
        let letters = self.queue.letters(topics).await?;
        let of_topic = |letter: &&Letter| selection.topic.as_ref().is_none_or(|pattern| matches(pattern, &letter.place.topic));
        if selection.places.is_empty() {
            return Ok((letters.iter().filter(of_topic).cloned().collect(), Vec::new()));
        }
        let found: Vec<_> = letters.iter().filter(|letter| selection.places.contains(&letter.place)).filter(of_topic).cloned().collect();
        let missing = selection.places.iter().filter(|place| !found.iter().any(|letter| letter.place == **place)).cloned();
        let missing = missing.collect();
        Ok((found, missing))
    }

    /// Loads letters, each by itself, in the order they came; those that are loaded are taken away.
    ///
    /// # Errors
    /// [`Error`], where Kafka, the registry or ClickHouse is away, so that no further one could be loaded either.
    pub async fn retry(&self, letters: &[Letter]) -> Result<Outcomes, Error> {
        let mut outcomes = Outcomes::default();
        let mut topics: Vec<Topic> = Vec::new();
        for letter in letters {
            let name = &letter.place.topic;
            let place = match topics.iter().position(|topic| topic.name == *name) {
                Some(place) => place,
                None => {
                    topics.push(Topic::new(Arc::clone(name), Arc::new(self.preparer.rules.of(name))));
                    topics.len() - 1
                }
            };
            match self.load(&mut topics[place], letter).await {
                Ok(()) => {
                    self.queue.remove(letter).await?;
                    outcomes.done.push(letter.place.clone());
                }
                Err(error @ (Error::ClickHouseAway { .. } | Error::Registry(_) | Error::DeadLetter { .. })) => return Err(error),
                Err(error) => outcomes.left.push((letter.place.clone(), error.to_string())),
            }
        }
        Ok(outcomes)
    }

    async fn load(&self, topic: &mut Topic, letter: &Letter) -> Result<(), Error> {
        let incoming = Incoming {
            partition: letter.place.partition,
            offset: letter.place.offset,
            timestamp_ms: letter.timestamp_ms,
            key: letter.key.as_deref(),
            value: letter.value.as_deref(),
            seq: letter.seq.as_deref(),
            dropped: false,
        };
        let mut batch = Batch::default();
        loop {
            match topic.apply(&incoming, &mut batch)? {
                Outcome::Taken => break,
                // Nothing else is in the batch.
                Outcome::Close => return Err(Error::Defect("an empty batch is to be closed".to_owned())),
                Outcome::Truncate(_) => {
                    let reason = "it is a truncation; delete the rows by hand, then drop the letter".to_owned();
                    return Err(Error::Record { place: letter.place.clone(), reason });
                }
                Outcome::Needs(request) => match self.preparer.prepare(&request).await? {
                    Some(prepared) => topic.learn(&request.place, prepared)?,
                    None => {
                        let reason = "it is of no table; drop the letter".to_owned();
                        return Err(Error::Record { place: letter.place.clone(), reason });
                    }
                },
            }
        }
        let once = matches!(topic.mode(), Some(Mode::History | Mode::Append));
        for block in batch.seal().0 {
            match topic.target().filter(|_| once) {
                Some(target) => self.insert_once(block, (&target.database, &target.table), &letter.place).await?,
                None => self.preparer.clickhouse.insert(&block).await?,
            }
        }
        Ok(())
    }

    /// Inserts a letter's row until the table has it: a token that ClickHouse knows doesn't prove that (see [`crate::load`]'s `loading`).
    async fn insert_once(&self, mut block: SealedBlock, table: (&str, &str), place: &Place) -> Result<(), Error> {
        let clickhouse = &self.preparer.clickhouse;
        let Place { topic, partition, offset } = place;
        let mut spent = 0;
        while clickhouse.offsets_present(table, (topic, *partition), (*offset, offset + 1)).await?.is_empty() {
            if spent > SPENT_MAX {
                return Err(acknowledged_in_vain(&(Arc::clone(topic), *partition), *offset, table));
            }
            block.token = Some(unspent(format!("millrace-letter/{}", shown(place)), spent));
            clickhouse.insert(&block).await?;
            spent += 1;
        }
        Ok(())
    }

    /// Takes letters away.
    ///
    /// # Errors
    /// [`Error::DeadLetter`]
    pub async fn drop(&self, letters: &[Letter]) -> Result<Outcomes, Error> {
        let mut outcomes = Outcomes::default();
        for letter in letters {
            self.queue.remove(letter).await?;
            outcomes.done.push(letter.place.clone());
        }
        Ok(outcomes)
    }

    /// A letter with its record's key and value, decoded where their schemas allow it.
    pub async fn details(&self, letter: &Letter) -> serde_json::Value {
        let mut details = summary(letter);
        details["key"] = self.decoded(letter.key.as_deref()).await;
        details["value"] = self.decoded(letter.value.as_deref()).await;
        details
    }

    async fn decoded(&self, bytes: Option<&[u8]>) -> serde_json::Value {
        let Some(bytes) = bytes else { return serde_json::Value::Null };
        let raw = bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut hex, byte| {
            let _ = write!(hex, "{byte:02x}");
            hex
        });
        match self.avro(bytes).await {
            Ok((schema_id, value)) => json!({ "schema_id": schema_id, "avro": value, "bytes": raw }),
            Err(reason) => json!({ "undecodable": reason, "bytes": raw }),
        }
    }

    async fn avro(&self, bytes: &[u8]) -> Result<(serde_json::Value, serde_json::Value), String> {
        let (id, mut body) = unframe(bytes).map_err(|error| error.to_string())?;
        let found = self.preparer.registry.schema_with_references(id).await.map_err(|error| error.to_string())?;
        let references = found.references.iter().map(|reference| &*reference.schema);
        let (schema, references) = Schema::parse_str_with_list(&found.schema, references).map_err(|error| error.to_string())?;
        let id = match id {
            SchemaId::Confluent(id) => id.into(),
            other => other.to_string().into(),
        };
        let all = references.iter().chain([&schema]).collect();
        let reader = GenericDatumReader::builder(&schema).writer_schemata(all).map_err(|error| error.to_string())?;
        let reader = reader.build().map_err(|error| error.to_string())?;
        let value: Value = reader.read_value(&mut body).map_err(|error| error.to_string())?;
        serde_json::Value::try_from(value).map(|value| (id, value)).map_err(|error| error.to_string())
    }
}

/// What is told of a letter without its record.
#[must_use]
pub fn summary(letter: &Letter) -> serde_json::Value {
    json!({
        "place": shown(&letter.place),
        "topic": *letter.place.topic,
        "partition": letter.place.partition,
        "offset": letter.place.offset,
        "timestamp_ms": letter.timestamp_ms,
        "kind": letter.kind,
        "cause": letter.cause,
        "table": letter.table,
        "column": letter.column,
        "group": letter.group,
        "failed_at_ms": letter.failed_at_ms,
        "queue": letter.queue,
    })
}

/// The letters as a table for people.
#[must_use]
pub fn table(letters: &[Letter]) -> String {
    let head = ["PLACE", "KIND", "TABLE", "COLUMN", "CAUSE"].map(str::to_owned);
    let rows = letters.iter().map(|letter| {
        let or_dash = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".to_owned());
        [shown(&letter.place), letter.kind.clone(), or_dash(&letter.table), or_dash(&letter.column), letter.cause.clone()]
    });
    let rows: Vec<_> = std::iter::once(head).chain(rows).map(Vec::from).collect();
    aligned(&rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_read_as_it_is_printed() {
        let place = Place { topic: Arc::from("shop.shop.orders"), partition: 3, offset: 17 };
        assert_eq!(parse_place(&shown(&place)), Ok(place));
        for wrong in ["", "a", "a/1", "/1/2", "a/x/2", "a/1/-2", "a/-1/2"] {
            assert!(parse_place(wrong).is_err(), "{wrong}");
        }
    }
}
