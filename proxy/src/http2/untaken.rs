//! Data frames that have arrived and were not taken yet. `h2` keeps each of them separately, however small: a byte
//! that is sent alone costs hundreds of bytes. The content of the frames is bounded by the window of their stream;
//! this counts the rest.

use std::{collections::BTreeMap, sync::Arc};

use parking_lot::Mutex;

use crate::budget::{Budget, Reserved};

/// The cost of a frame beyond its content, as `h2` counts it.
const OF_A_FRAME: u64 = 256;
/// Cost that a connection may have uncounted, because most frames are taken at once.
const FREE: u64 = 16 * 1024;
/// The cost is counted in steps of this size.
const STEP: u64 = 64 * 1024;

/// The frames of one connection.
#[derive(Clone, Debug)]
pub(super) struct Untaken(Arc<Mutex<Tally>>);

/// How many there are, and the memory counted for them.
#[derive(Debug)]
struct Tally {
    budget: Budget,
    reserved: Option<Reserved>,
    /// By stream. Streams whose request was taken stay here until it is given up.
    by_stream: BTreeMap<u32, u32>,
    all: u64,
    /// The newest stream whose request was taken. Frames for an older stream that is not here are not kept.
    newest: u32,
}

impl Untaken {
    /// Counts in `budget`.
    pub(super) fn new(budget: Budget) -> Self {
        let by_stream = BTreeMap::new();
        Self(Arc::new(Mutex::new(Tally { budget, reserved: None, by_stream, all: 0, newest: 0 })))
    }

    /// Records a frame for `stream`. Returns whether there is memory for it.
    #[must_use]
    pub(super) fn came(&self, stream: u32) -> bool {
        let mut tally = self.0.lock();
        if stream <= tally.newest && !tally.by_stream.contains_key(&stream) {
            return true;
        }
        *tally.by_stream.entry(stream).or_default() += 1;
        tally.all += 1;
        tally.count()
    }

    /// Records that the request of `stream` was taken completely.
    pub(super) fn whole(&self, stream: u32) {
        let mut tally = self.0.lock();
        tally.reached(stream);
        let left = tally.by_stream.remove(&stream).unwrap_or_default();
        tally.gone(u64::from(left));
    }

    /// Records that the request of `stream` was taken, without its body.
    pub(super) fn of(&self, stream: u32) -> OfStream {
        let mut tally = self.0.lock();
        tally.reached(stream);
        tally.by_stream.entry(stream).or_default();
        OfStream { all: self.clone(), stream }
    }
}

/// The frames of one stream, until it is given up.
#[derive(Debug)]
pub(super) struct OfStream {
    all: Untaken,
    stream: u32,
}

impl OfStream {
    /// Records that a frame was taken. An empty frame that is not the last is given to nobody, and counts until its
    /// stream is given up.
    pub(super) fn taken(&self) {
        let mut tally = self.all.0.lock();
        if let Some(left) = tally.by_stream.get_mut(&self.stream).filter(|left| **left > 0) {
            *left -= 1;
            tally.gone(1);
        }
    }
}

impl Drop for OfStream {
    fn drop(&mut self) {
        self.all.whole(self.stream);
    }
}

impl Tally {
    /// Requests are taken in the order of their streams: frames for streams in between, which `h2` refused, are not
    /// kept.
    fn reached(&mut self, stream: u32) {
        if stream <= self.newest {
            return;
        }
        let refused: Vec<u32> =
            self.by_stream.range(self.newest + 1..stream).map(|(refused, _)| *refused).collect();
        for refused in refused {
            let left = self.by_stream.remove(&refused).unwrap_or_default();
            self.gone(u64::from(left));
        }
        self.newest = stream;
    }

    fn gone(&mut self, frames: u64) {
        self.all -= frames;
        if self.all * OF_A_FRAME <= FREE {
            self.reserved = None;
        }
    }

    fn count(&mut self) -> bool {
        let needed = self.all * OF_A_FRAME;
        if needed <= FREE {
            return true;
        }
        let counted = self.reserved.as_ref().map_or(0, Reserved::bytes);
        if needed <= counted {
            return true;
        }
        self.budget.grow(&mut self.reserved, STEP)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn come(untaken: &Untaken, stream: u32, frames: usize) -> bool {
        (0..frames).all(|_| untaken.came(stream))
    }

    #[test]
    fn what_nobody_takes_is_counted_until_it_is_taken_or_given_up() {
        let budget = Budget::new(4 * STEP);
        let untaken = Untaken::new(budget.clone());
        let (one, other) = (untaken.of(1), untaken.of(3));
        assert!(come(&untaken, 1, 60));
        assert_eq!(budget.used(), 0, "most requests have a few frames");
        assert!(come(&untaken, 3, 600));
        assert_eq!(budget.used(), 3 * STEP);
        for _ in 0..600 {
            other.taken();
        }
        assert_eq!(budget.used(), 0);
        assert!(come(&untaken, 1, 600));
        drop(one);
        assert_eq!(budget.used(), 0);
        assert!(come(&untaken, 1, 10_000), "of a stream that was given up nothing is kept");
        assert_eq!(budget.used(), 0);
    }

    #[test]
    fn frames_that_come_before_their_request_is_taken_count_too() {
        let budget = Budget::new(4 * STEP);
        let untaken = Untaken::new(budget.clone());
        assert!(come(&untaken, 5, 600));
        let five = untaken.of(5);
        five.taken();
        assert_eq!(budget.used(), 3 * STEP);
        drop(five);
        assert_eq!(budget.used(), 0);
    }

    #[test]
    fn streams_that_were_refused_count_until_a_later_one_is_taken() {
        let budget = Budget::new(4 * STEP);
        let untaken = Untaken::new(budget.clone());
        assert!(come(&untaken, 5, 300) && come(&untaken, 7, 300));
        assert_eq!(budget.used(), 3 * STEP);
        let nine = untaken.of(9);
        assert_eq!(budget.used(), 0);
        assert!(come(&untaken, 7, 10_000), "nothing of it is kept");
        drop(nine);
        assert_eq!(untaken.0.lock().all, 0);
    }

    #[test]
    fn a_request_that_has_no_more_to_come_leaves_nothing() {
        let untaken = Untaken::new(Budget::new(STEP));
        // The end arrived as a separate frame, before the request was taken.
        assert!(untaken.came(7));
        untaken.whole(7);
        let tally = untaken.0.lock();
        assert_eq!((tally.all, tally.by_stream.len()), (0, 0));
    }

    #[test]
    fn a_connection_with_more_than_there_is_memory_for_is_told_so() {
        let untaken = Untaken::new(Budget::new(2 * STEP));
        let _stream = untaken.of(1);
        assert!(come(&untaken, 1, 512));
        assert!(!untaken.came(1));
    }

    #[test]
    fn more_is_taken_than_came_and_nothing_is_lost() {
        let untaken = Untaken::new(Budget::new(STEP));
        let stream = untaken.of(1);
        stream.taken();
        assert!(untaken.came(1));
        drop(stream);
        assert_eq!(untaken.0.lock().all, 0);
    }
}
