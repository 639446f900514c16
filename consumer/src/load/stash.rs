//! Records that wait because something else must come first, such as their table's columns: copied out of the client's buffers, as small as they can be.
//!
//! Where hundreds of tables are loaded for the first time, whatever Kafka has sent of them waits here at once, so what a record takes here is what the consumer takes.
//! Pure.

use std::collections::VecDeque;

use crate::load::topic::Incoming;

/// A record that waits.
#[derive(Debug)]
pub(crate) struct Stashed {
    pub(crate) offset: i64,
    timestamp_ms: i64,
    /// Key, value and header, one after the other.
    bytes: Box<[u8]>,
    /// How long each of them is, as far as there is one.
    lengths: [Option<u32>; 3],
    pub(crate) partition: i32,
    dropped: bool,
}

impl Stashed {
    fn of(record: &Incoming<'_>) -> Self {
        let parts = [record.key, record.value, record.seq];
        Self {
            offset: record.offset,
            timestamp_ms: record.timestamp_ms,
            bytes: parts.map(Option::unwrap_or_default).concat().into(),
            // Kafka's own lengths have 32 bits.
            lengths: parts.map(|part| part.map(|part| u32::try_from(part.len()).unwrap_or(u32::MAX))),
            partition: record.partition,
            dropped: record.dropped,
        }
    }

    pub(crate) fn incoming(&self) -> Incoming<'_> {
        let mut rest = &*self.bytes;
        let [key, value, seq] = self.lengths.map(|length| {
            let length = usize::try_from(length?).unwrap_or(usize::MAX);
            let (part, behind) = rest.split_at(length.min(rest.len()));
            rest = behind;
            Some(part)
        });
        Incoming { partition: self.partition, offset: self.offset, timestamp_ms: self.timestamp_ms, key, value, seq, dropped: self.dropped }
    }
}

/// The records of a unit that wait, in the order in which they came.
#[derive(Debug, Default)]
pub(crate) struct Stash {
    records: VecDeque<Stashed>,
    /// Bytes of all records' own memory.
    bytes: usize,
}

impl Stash {
    pub(crate) fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// Bytes that it takes, those included that no record uses yet.
    pub(crate) fn memory(&self) -> usize {
        self.bytes + self.records.capacity() * size_of::<Stashed>()
    }

    pub(crate) fn push(&mut self, record: &Incoming<'_>) {
        self.push_stashed(Stashed::of(record));
    }

    pub(crate) fn push_stashed(&mut self, stashed: Stashed) {
        self.bytes += stashed.bytes.len();
        self.records.push_back(stashed);
    }

    /// Puts back what was taken out last.
    pub(crate) fn put_back(&mut self, stashed: Stashed) {
        self.bytes += stashed.bytes.len();
        self.records.push_front(stashed);
    }

    /// Takes the first record out; the last one leaves no memory behind.
    pub(crate) fn pop(&mut self) -> Option<Stashed> {
        let stashed = self.records.pop_front()?;
        self.bytes -= stashed.bytes.len();
        if self.records.is_empty() {
            self.records = VecDeque::new();
        }
        Some(stashed)
    }

    /// The offset of the first record of a partition.
    pub(crate) fn first(&self, partition: i32) -> Option<i64> {
        self.records.iter().find(|stashed| stashed.partition == partition).map(|stashed| stashed.offset)
    }

    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }

    /// Forgets the records of a partition.
    pub(crate) fn forget(&mut self, partition: i32) {
        self.records.retain(|stashed| stashed.partition != partition);
        self.records.shrink_to_fit();
        self.bytes = self.records.iter().map(|stashed| stashed.bytes.len()).sum();
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    type Parts = (Option<Vec<u8>>, Option<Vec<u8>>, Option<Vec<u8>>);

    fn record(partition: i32, offset: i64, (key, value, seq): &Parts) -> Incoming<'_> {
        let (key, value, seq) = (key.as_deref(), value.as_deref(), seq.as_deref());
        Incoming { partition, offset, timestamp_ms: offset * 3, key, value, seq, dropped: offset % 2 == 1 }
    }

    fn parts() -> impl Strategy<Value = Parts> {
        let part = || prop::option::of(prop::collection::vec(any::<u8>(), 0..5));
        (part(), part(), part())
    }

    fn offset_of(place: usize) -> i64 {
        i64::try_from(place).expect("few")
    }

    proptest! {
        #[test]
        fn records_come_out_as_they_came_and_leave_no_memory(all in prop::collection::vec((0..3_i32, parts()), 0..20), forgotten in 0..4_i32) {
            let mut stash = Stash::default();
            for (place, (partition, parts)) in all.iter().enumerate() {
                stash.push(&record(*partition, offset_of(place), parts));
            }
            stash.forget(forgotten);
            let left: Vec<_> = all.iter().enumerate().filter(|(_, (partition, _))| *partition != forgotten).collect();
            for partition in 0..3 {
                let first = left.iter().find(|(_, (of, _))| *of == partition).map(|(place, _)| offset_of(*place));
                prop_assert_eq!(stash.first(partition), first);
            }
            let length = |part: &Option<Vec<u8>>| part.as_ref().map_or(0, Vec::len);
            let own: usize = left.iter().map(|(_, (_, (key, value, seq)))| length(key) + length(value) + length(seq)).sum();
            prop_assert!(stash.memory() >= own + left.len() * size_of::<Stashed>());
            for (place, (partition, parts)) in left {
                let taken = stash.pop().expect("a record");
                prop_assert_eq!(format!("{:?}", taken.incoming()), format!("{:?}", record(*partition, offset_of(place), parts)));
                stash.put_back(taken);
                prop_assert_eq!(stash.pop().map(|taken| taken.offset), Some(offset_of(place)));
            }
            prop_assert!(stash.is_empty() && stash.pop().is_none());
            prop_assert_eq!(stash.memory(), 0);
        }
    }

    #[test]
    fn a_record_that_waits_takes_little_beside_its_bytes() {
        assert!(size_of::<Stashed>() <= 64, "{}", size_of::<Stashed>());
    }
}
