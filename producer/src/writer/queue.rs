//! The queue of events between the reader of the log and the writer, bounded by bytes (G9).

use std::sync::Arc;

use tokio::sync::{Semaphore, mpsc};

use crate::source::SourceError;
use crate::source::log::RawEvent;

/// Bytes of events that may wait for the writer; one larger event passes alone.
const QUEUE_BYTES_MAX: u32 = 64 << 20;
const QUEUE_EVENTS_MAX: usize = 8192;

/// An event with the permits that bound the bytes between reader and writer.
pub(super) struct QueuedEvent {
    /// The event.
    pub(super) event: RawEvent,
    /// Permits to give back.
    permits: u32,
}

/// The reader's end.
#[derive(Clone)]
pub struct LogQueue {
    sender: mpsc::Sender<Result<QueuedEvent, SourceError>>,
    permits: Arc<Semaphore>,
}

impl LogQueue {
    /// A queue, and its other end.
    #[must_use]
    pub fn new() -> (Self, LogReceiver) {
        let (sender, receiver) = mpsc::channel(QUEUE_EVENTS_MAX);
        let permits = Arc::new(Semaphore::new(usize::try_from(QUEUE_BYTES_MAX).unwrap_or(usize::MAX)));
        (Self { sender, permits: Arc::clone(&permits) }, LogReceiver { receiver, permits })
    }

    /// Hands an event on, waiting while too many bytes are queued. False when the writer is gone.
    pub async fn send(&self, event: RawEvent) -> bool {
        let permits = u32::try_from(event.body().len()).unwrap_or(u32::MAX).clamp(1, QUEUE_BYTES_MAX);
        let Ok(permit) = self.permits.acquire_many(permits).await else { return false };
        permit.forget();
        self.sender.send(Ok(QueuedEvent { event, permits })).await.is_ok()
    }

    /// Hands on why no more will come.
    pub async fn fail(&self, error: SourceError) {
        // A writer that is gone has a reason of its own.
        let _ = self.sender.send(Err(error)).await;
    }
}

/// The writer's end.
pub struct LogReceiver {
    receiver: mpsc::Receiver<Result<QueuedEvent, SourceError>>,
    permits: Arc<Semaphore>,
}

impl LogReceiver {
    /// Takes up to `limit` events at once; 0: the reader is gone.
    pub(super) async fn receive(&mut self, events: &mut Vec<Result<QueuedEvent, SourceError>>, limit: usize) -> usize {
        self.receiver.recv_many(events, limit).await
    }

    /// The event is dealt with.
    pub(super) fn give_back(&self, queued: &QueuedEvent) {
        self.permits.add_permits(usize::try_from(queued.permits).unwrap_or(0));
    }
}
