//! Heads that are not complete yet. `h2` keeps the parts of a head as long as its client likes, and reports nothing
//! before it is complete. Therefore this follows the frames as they arrive. It also sees data frames, and counts them
//! with the frames that were not read yet ([`Untaken`]).

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::time::{Instant, sleep};

use super::untaken::Untaken;
use crate::budget::{Budget, Reserved};

/// Length of what a client sends first; frames follow.
const PREFACE: u64 = 24;
const FRAME_HEAD: usize = 9;
/// `h2` keeps a head twice: as it arrived, and joined.
const KEPT: u64 = 2;
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const CONTINUATION: u8 = 9;
const END_HEADERS: u8 = 4;

/// The position of a connection within its frames.
#[derive(Debug)]
struct Position {
    /// The part of the next frame's header that has arrived.
    head: [u8; FRAME_HEAD],
    filled: usize,
    /// Number of bytes of the current frame that are still to come.
    left: u64,
    /// Number of bytes of a head that has not ended.
    open: u64,
    /// Whether the head ends with this frame.
    ends: bool,
}

impl Position {
    const fn of_a_client() -> Self {
        Self { head: [0; FRAME_HEAD], filled: 0, left: PREFACE, open: 0, ends: false }
    }

    /// Follows the received bytes. Calls `data` with the stream of each data frame that starts. Returns the length of
    /// an incomplete head.
    fn follow(&mut self, mut bytes: &[u8], mut data: impl FnMut(u32)) -> u64 {
        while !bytes.is_empty() {
            if self.left == 0 {
                let more = bytes.len().min(FRAME_HEAD - self.filled);
                self.head[self.filled..self.filled + more].copy_from_slice(&bytes[..more]);
                self.filled += more;
                bytes = &bytes[more..];
                if self.filled < FRAME_HEAD {
                    break;
                }
                self.begin(&mut data);
            } else {
                let more = usize::try_from(self.left).unwrap_or(usize::MAX).min(bytes.len());
                self.left -= more as u64;
                self.open += if self.open > 0 { more as u64 } else { 0 };
                bytes = &bytes[more..];
            }
            if self.left == 0 && self.ends {
                self.open = 0;
            }
        }
        self.open
    }

    fn begin(&mut self, data: &mut impl FnMut(u32)) {
        let [a, b, c, kind, flags, stream @ ..] = self.head;
        self.filled = 0;
        self.left = u64::from(u32::from_be_bytes([0, a, b, c]));
        // No other frame can arrive within a head: `h2` refuses it.
        self.ends = flags & END_HEADERS != 0;
        match kind {
            HEADERS | CONTINUATION => self.open += FRAME_HEAD as u64,
            DATA => {
                self.open = 0;
                // The highest bit is reserved.
                data(u32::from_be_bytes(stream) & (u32::MAX >> 1));
            }
            _ => self.open = 0,
        }
    }
}

/// A head that a client is sending, counted in the budget of all such heads.
#[derive(Debug)]
pub(super) struct Heads {
    position: Position,
    untaken: Untaken,
    budget: Budget,
    reserved: Option<Reserved>,
    counted: u64,
    since: Since,
}

impl Heads {
    /// Counts heads in `budget`, and data frames in `untaken`.
    pub(super) fn new(budget: Budget, untaken: Untaken) -> (Self, Since) {
        let since = Since { began: Instant::now(), at: Arc::default() };
        let position = Position::of_a_client();
        (Self { position, untaken, budget, reserved: None, counted: 0, since: since.clone() }, since)
    }

    /// Follows the received bytes.
    ///
    /// # Errors
    ///
    /// Returns an error if there is no memory for the head or for the frames.
    pub(super) fn follow(&mut self, bytes: &[u8]) -> io::Result<()> {
        let (untaken, mut fits) = (&self.untaken, true);
        let open = self.position.follow(bytes, |stream| fits &= untaken.came(stream));
        if !fits {
            return Err(io::Error::other("no memory for more data frames that were not read"));
        }
        if open == 0 {
            (self.reserved, self.counted) = (None, 0);
            self.since.ended();
            return Ok(());
        }
        self.since.begun();
        let more = (KEPT * open).saturating_sub(self.counted);
        self.counted += more;
        let fits = self.budget.grow(&mut self.reserved, more);
        if fits { Ok(()) } else { Err(io::Error::other("no memory for a head that is not complete")) }
    }
}

/// Since when a head has been incomplete.
#[derive(Clone, Debug)]
pub(super) struct Since {
    began: Instant,
    /// Milliseconds after `began`, plus one; 0 if no head is incomplete.
    at: Arc<AtomicU64>,
}

impl Since {
    fn now(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX - 1) + 1
    }

    fn begun(&self) {
        if self.at.load(Ordering::Relaxed) == 0 {
            self.at.store(self.now(), Ordering::Relaxed);
        }
    }

    fn ended(&self) {
        self.at.store(0, Ordering::Relaxed);
    }

    /// Resolves when a head has taken longer than `limit`, or up to a quarter more.
    pub(super) async fn too_long(&self, limit: Duration) {
        loop {
            sleep(limit / 4).await;
            let at = self.at.load(Ordering::Relaxed);
            if at > 0 && Duration::from_millis(self.now().saturating_sub(at)) >= limit {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(kind: u8, flags: u8, payload: usize) -> Vec<u8> {
        let length = u32::try_from(payload).unwrap().to_be_bytes();
        [&length[1..], &[kind, flags, 0, 0, 0, 1], &vec![b'x'; payload]].concat()
    }

    #[test]
    fn what_waits_for_its_end_is_counted_however_it_comes() {
        /// Kinds, flags and lengths of frames, and the number of bytes pending after them.
        type Case = (&'static [(u8, u8, usize)], u64);
        let cases: [Case; 7] = [
            (&[], 0),
            (&[(HEADERS, END_HEADERS, 30)], 0),
            (&[(HEADERS, 0, 30)], 39),
            (&[(HEADERS, 0, 30), (CONTINUATION, 0, 5), (CONTINUATION, 0, 0)], 62),
            (&[(HEADERS, 0, 30), (CONTINUATION, END_HEADERS, 0)], 0),
            (&[(HEADERS, 0, 30), (CONTINUATION, END_HEADERS, 5), (DATA, END_HEADERS, 100)], 0),
            (&[(DATA, 0, 100), (HEADERS, 0, 1)], 10),
        ];
        for (frames, open) in cases {
            let sent: Vec<u8> = frames.iter().flat_map(|(kind, flags, n)| frame(*kind, *flags, *n)).collect();
            let sent = [&[b'P'; 24][..], &sent].concat();
            assert_eq!(Position::of_a_client().follow(&sent, |_| {}), open, "{frames:?}");
            for pieces in [1, 2, 7, 20] {
                let mut read = Position::of_a_client();
                let last = sent.chunks(pieces).map(|piece| read.follow(piece, |_| {})).last();
                assert_eq!(last, Some(open), "{frames:?} in pieces of {pieces}");
            }
        }
        let mut half = Position::of_a_client();
        half.follow(&[b'P'; 24], |_| {});
        assert_eq!(
            half.follow(&frame(HEADERS, END_HEADERS, 100)[..50], |_| {}),
            50,
            "a frame that has not come to its end"
        );
    }

    #[test]
    fn each_frame_of_data_is_told_of_once_with_its_stream() {
        let sent = [frame(DATA, 0, 0), frame(HEADERS, END_HEADERS, 3), frame(DATA, 1, 70_000)].concat();
        let sent = [&[b'P'; 24][..], &sent].concat();
        for pieces in [1, 7, 1000, sent.len()] {
            let (mut read, mut streams) = (Position::of_a_client(), Vec::new());
            for piece in sent.chunks(pieces) {
                read.follow(piece, |stream| streams.push(stream));
            }
            assert_eq!(streams, [1, 1], "in pieces of {pieces}");
        }
    }

    #[test]
    fn heads_are_counted_until_they_end_and_refused_where_there_is_no_room() {
        let budget = Budget::new(1000);
        let (mut heads, since) = Heads::new(budget.clone(), Untaken::new(budget.clone()));
        heads.follow(&[b'P'; 24]).unwrap();
        heads.follow(&frame(HEADERS, 0, 100)).unwrap();
        assert_eq!((budget.used(), since.at.load(Ordering::Relaxed) > 0), (218, true));
        heads.follow(&frame(CONTINUATION, 0, 100)).unwrap();
        assert_eq!(budget.used(), 436);
        heads.follow(&frame(CONTINUATION, END_HEADERS, 100)).unwrap();
        assert_eq!((budget.used(), since.at.load(Ordering::Relaxed)), (0, 0));
        assert!(heads.follow(&frame(HEADERS, 0, 1000)).is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn a_head_that_does_not_end_is_noticed_in_time_and_an_idle_connection_is_not_late() {
        let (mut heads, since) = Heads::new(Budget::unlimited(), Untaken::new(Budget::unlimited()));
        let minute = Duration::from_secs(60);
        assert!(tokio::time::timeout(10 * minute, since.too_long(minute)).await.is_err());
        heads.follow(&[b'P'; 24]).unwrap();
        heads.follow(&frame(HEADERS, 0, 1)).unwrap();
        let began = Instant::now();
        since.too_long(minute).await;
        assert!((minute..=minute + minute / 4).contains(&began.elapsed()), "{:?}", began.elapsed());
    }
}
