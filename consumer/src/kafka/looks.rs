//! Looks at where partitions end, or begin: by a client of its own, that fetches nothing, so that an answer costs nobody a pass over all partitions.
//!
//! `ListOffsets` takes all partitions of a broker at once. They are asked in pieces nevertheless, as librdkafka looks each partition of an answer up in a list of all that
//! were asked.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, TryRecvError, channel};
use std::time::{Duration, Instant};

use rdkafka::config::ClientConfig;
use rdkafka::consumer::Consumer;
use rdkafka::consumer::base_consumer::BaseConsumer;
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::{Offset, TopicPartitionList};

use super::{Context, TopicPartition};
use crate::error::Error;

/// Partitions of one question.
const PIECE: usize = 100;
/// How long one question may take.
const TIMEOUT: Duration = Duration::from_secs(2);
/// After so many questions in a row that nobody answered, the other ones aren't asked.
const UNANSWERED_MAX: usize = 2;

/// A part of the time, as its inverse, that looks may take.
const SHARE: u32 = 50;
/// The longest pause between two looks.
const PAUSE_MAX: Duration = Duration::from_secs(10);
/// So long after partitions came they are looked at more often: until they rest, they cost more than that.
const SETTLING: Duration = Duration::from_secs(30);

/// Each partition's end; none where it isn't known.
pub(super) type Ends = Vec<(TopicPartition, Option<i64>)>;

struct Found {
    ends: Ends,
    /// Whether any broker answered.
    answered: bool,
    /// How long the look took.
    took: Duration,
}

type Client = BaseConsumer<Context>;

/// The client that looks, and a thread that does it while others go on; both from when they are asked for the first time. And when is looked.
pub(super) struct Looks {
    config: ClientConfig,
    client: Option<Arc<Client>>,
    thread: Option<(Sender<Vec<TopicPartition>>, Receiver<Found>)>,
    under_way: bool,
    interval: Duration,
    next: Instant,
    settling_until: Instant,
    /// When there was the last look, and whether anybody answered.
    last: Option<(Instant, bool)>,
}

impl Looks {
    /// One that asks with these properties, at most each `interval`.
    pub(super) fn new(mut config: ClientConfig, interval: Duration) -> Self {
        config.set("statistics.interval.ms", "0").set("topic.metadata.refresh.interval.ms", "-1");
        let now = Instant::now();
        Self { config, client: None, thread: None, under_way: false, interval, next: now, settling_until: now, last: None }
    }

    /// There are new partitions: it is looked at once, and more often for a while.
    pub(super) fn partitions_came(&mut self) {
        self.next = Instant::now();
        self.settling_until = self.next + SETTLING;
    }

    /// Whether it is time to ask. While a look is under way it isn't.
    pub(super) fn is_due(&self, now: Instant) -> bool {
        now >= self.next && !self.under_way
    }

    /// The longest time from one look to the next.
    pub(super) fn interval_max(&self) -> Duration {
        self.interval.max(PAUSE_MAX)
    }

    /// When there was the last look, if there was one, and whether anybody answered.
    pub(super) fn last(&self) -> Option<(Instant, bool)> {
        self.last
    }

    /// Asks where partitions end. Nothing may be under way.
    ///
    /// # Errors
    /// [`Error::Defect`] where there can be no thread.
    pub(super) fn ask(&mut self, partitions: Vec<TopicPartition>) -> Result<(), Error> {
        let thread = match self.thread.take() {
            Some(thread) => thread,
            None => start(self.client()?)?,
        };
        thread.0.send(partitions).map_err(|_| ended())?;
        self.under_way = true;
        self.thread = Some(thread);
        Ok(())
    }

    /// Where partitions begin; none where that isn't known. Waits for the answers.
    ///
    /// # Errors
    /// [`Error::KafkaProperties`] where there can be no client.
    pub(super) fn beginnings(&mut self, partitions: &[TopicPartition]) -> Result<Vec<Option<i64>>, Error> {
        let client = self.client()?;
        Ok(look(&client, partitions, Offset::Beginning).into_iter().map(|(_, offset)| offset).collect())
    }

    fn client(&mut self) -> Result<Arc<Client>, Error> {
        if let Some(client) = &self.client {
            return Ok(Arc::clone(client));
        }
        let client = Arc::new(self.config.create_with_context(Context::default()).map_err(Error::KafkaProperties)?);
        self.client = Some(Arc::clone(&client));
        Ok(client)
    }

    /// What a look has found, once. The next one is the later the longer it took.
    ///
    /// # Errors
    /// [`Error::Defect`] where the thread ended.
    pub(super) fn found(&mut self, now: Instant) -> Result<Option<Ends>, Error> {
        let Some((_, answers)) = self.thread.as_ref().filter(|_| self.under_way) else { return Ok(None) };
        match answers.try_recv() {
            Ok(Found { ends, answered, took }) => {
                self.under_way = false;
                self.last = Some((now, answered));
                let pause = if now < self.settling_until { Duration::ZERO } else { took.saturating_mul(SHARE).min(PAUSE_MAX) };
                self.next = now + pause.max(self.interval);
                Ok(Some(ends))
            }
            Err(TryRecvError::Empty) => Ok(None),
            Err(TryRecvError::Disconnected) => Err(ended()),
        }
    }
}

fn ended() -> Error {
    Error::Defect("the thread that looks at the partitions' ends ended".to_owned())
}

fn start(client: Arc<Client>) -> Result<(Sender<Vec<TopicPartition>>, Receiver<Found>), Error> {
    let (questions, asked) = channel::<Vec<TopicPartition>>();
    let (answer, answers) = channel();
    // It ends when the other end of `asked` is dropped, at the latest after the questions that are left of a look. Nobody waits for that.
    let thread = std::thread::Builder::new().name("kafka-look".to_owned()).spawn(move || {
        for partitions in asked {
            let begun = Instant::now();
            let ends = look(&client, &partitions, Offset::End);
            let answered = if ends.is_empty() { is_there(&client) } else { ends.iter().any(|(_, end)| end.is_some()) };
            if answer.send(Found { ends, answered, took: begun.elapsed() }).is_err() {
                return;
            }
        }
    });
    thread.map_err(|error| Error::Defect(format!("could not start a thread: {error}")))?;
    Ok((questions, answers))
}

/// Whether the brokers answer, where there is nothing else to ask them.
fn is_there(client: &Client) -> bool {
    client.fetch_metadata(Some("__consumer_offsets"), TIMEOUT).is_ok()
}

fn look(client: &Client, partitions: &[TopicPartition], place: Offset) -> Vec<(TopicPartition, Option<i64>)> {
    let mut offsets = Vec::with_capacity(partitions.len());
    let mut unanswered = 0;
    for piece in partitions.chunks(PIECE) {
        let found = if unanswered < UNANSWERED_MAX { ask(client, piece, place) } else { Err(KafkaError::Canceled) };
        match found {
            Ok(found) => {
                unanswered = 0;
                offsets.extend(piece.iter().cloned().zip(found));
            }
            Err(error) => {
                tracing::debug!(%error, "where partitions begin or end can't be looked at");
                unanswered += 1;
                offsets.extend(piece.iter().cloned().map(|partition| (partition, None)));
            }
        }
    }
    offsets
}

/// The offsets of these partitions at `place`, in their order; none where Kafka doesn't tell one. The end is that of what is committed.
fn ask(client: &Client, partitions: &[TopicPartition], place: Offset) -> KafkaResult<Vec<Option<i64>>> {
    let mut list = TopicPartitionList::with_capacity(partitions.len());
    for (topic, partition) in partitions {
        list.add_partition(topic, *partition).set_offset(place)?;
    }
    let answered = client.offsets_for_times(list, TIMEOUT)?;
    let found = answered.elements().into_iter().map(|element| match (element.error(), element.offset()) {
        (Ok(()), Offset::Offset(offset)) => Some(offset),
        _ => None,
    });
    Ok(found.collect())
}
