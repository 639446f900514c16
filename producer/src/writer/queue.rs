//! The queue of events between the reader of the log and the writer, bounded by bytes (G9). Events pass in batches: what each costs by itself is more than decoding a row.

use std::sync::Arc;

use tokio::sync::{Semaphore, mpsc};

use crate::source::SourceError;
use crate::source::log::RawEvent;

/// Bytes of events that may wait for the writer; one larger event passes alone.
const QUEUE_BYTES_MAX: u32 = 16 << 20;
const QUEUE_BATCHES_MAX: usize = 128;
/// Bytes and events of one batch, beyond which no more are added to it.
const BATCH_BYTES_MAX: usize = 256 << 10;
const BATCH_EVENTS_MAX: usize = 512;

/// Events, with the permits that bound the bytes between reader and writer.
struct Queued {
    events: Vec<RawEvent>,
    /// Permits to give back.
    permits: u32,
}

/// Events that are to be handed on together.
#[derive(Debug, Default)]
pub struct Batch {
    events: Vec<RawEvent>,
    bytes: usize,
}

impl Batch {
    /// Adds an event. Whether another may follow it.
    pub fn push(&mut self, event: RawEvent) -> bool {
        self.bytes = self.bytes.saturating_add(event.body().len());
        self.events.push(event);
        self.bytes < BATCH_BYTES_MAX && self.events.len() < BATCH_EVENTS_MAX
    }

    /// Whether it has no event.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.events.is_empty()
    }
}

/// The reader's end.
#[derive(Clone)]
pub struct LogQueue {
    sender: mpsc::Sender<Result<Queued, SourceError>>,
    permits: Arc<Semaphore>,
}

impl LogQueue {
    /// A queue, and its other end.
    #[must_use]
    pub fn new() -> (Self, LogReceiver) {
        let (sender, receiver) = mpsc::channel(QUEUE_BATCHES_MAX);
        let permits = Arc::new(Semaphore::new(usize::try_from(QUEUE_BYTES_MAX).unwrap_or(usize::MAX)));
        let current = Vec::new().into_iter();
        (Self { sender, permits: Arc::clone(&permits) }, LogReceiver { receiver, permits, current, current_permits: 0 })
    }

    /// Hands events on, waiting while too many bytes are queued. False when the writer is gone.
    pub async fn send(&self, batch: Batch) -> bool {
        let permits = u32::try_from(batch.bytes).unwrap_or(u32::MAX).clamp(1, QUEUE_BYTES_MAX);
        let Ok(permit) = self.permits.acquire_many(permits).await else { return false };
        permit.forget();
        self.sender.send(Ok(Queued { events: batch.events, permits })).await.is_ok()
    }

    /// Hands on why no more will come.
    pub async fn fail(&self, error: SourceError) {
        // A writer that is gone has a reason of its own.
        let _ = self.sender.send(Err(error)).await;
    }
}

/// The writer's end.
pub struct LogReceiver {
    receiver: mpsc::Receiver<Result<Queued, SourceError>>,
    permits: Arc<Semaphore>,
    /// What is left of the batch that was taken last, and its permits.
    current: std::vec::IntoIter<RawEvent>,
    current_permits: u32,
}

impl LogReceiver {
    /// Waits until [`next`](Self::next) has an event. Dropping the call before its end loses nothing. None: the reader is gone.
    pub(super) async fn wait(&mut self) -> Option<Result<(), SourceError>> {
        if self.current.len() > 0 {
            return Some(Ok(()));
        }
        let received = self.receiver.recv().await?;
        Some(received.map(|queued| {
            self.current = queued.events.into_iter();
            self.current_permits = queued.permits;
        }))
    }

    /// The next event of those that have come together; with the last one dealt with, the reader may go on.
    pub(super) fn next(&mut self) -> Option<RawEvent> {
        let next = self.current.next();
        if next.is_none() {
            self.permits.add_permits(usize::try_from(std::mem::take(&mut self.current_permits)).unwrap_or(0));
        }
        next
    }
}
