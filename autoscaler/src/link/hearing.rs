//! Detects streams that are silent although they promised heartbeats: their activators may have vanished.
//!
//! The caller supplies the time. Time in which the autoscaler itself was stopped does not count as silence.

use std::{collections::HashMap, time::Duration};

use ebb_core::{Tick, link::HEARTBEAT_EVERY};

use super::LinkId;

/// A stream is silent after three missed heartbeats.
pub(super) const SILENT_AFTER: Duration = HEARTBEAT_EVERY.saturating_mul(3);
/// How often to look for silent streams.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// A look this long after the previous one is late because the program was stopped, and messages sent
/// meanwhile are still unread.
const LATE_AFTER: Duration = Duration::from_secs(2);

/// The streams that promised heartbeats.
#[derive(Debug, Default)]
pub(super) struct Hearing {
    streams: HashMap<LinkId, Heard>,
    looked_at: Tick,
}

#[derive(Debug)]
struct Heard {
    at: Tick,
    is_silent: bool,
}

impl Hearing {
    /// Expects to hear from the stream, as it promised at `now`.
    pub(super) fn expect(&mut self, stream: LinkId, now: Tick) {
        if self.streams.is_empty() {
            self.looked_at = now;
        }
        self.streams.insert(stream, Heard { at: now, is_silent: false });
    }

    /// Records a message. Returns whether the stream was considered silent.
    pub(super) fn heard(&mut self, stream: LinkId, now: Tick) -> bool {
        let Some(heard) = self.streams.get_mut(&stream) else { return false };
        heard.at = now;
        std::mem::take(&mut heard.is_silent)
    }

    /// Forgets a stream that has ended.
    pub(super) fn forget(&mut self, stream: LinkId) {
        self.streams.remove(&stream);
    }

    /// Returns whether the stream is considered silent.
    pub(super) fn is_silent(&self, stream: LinkId) -> bool {
        self.streams.get(&stream).is_some_and(|heard| heard.is_silent)
    }

    /// Returns when to look next; `None` if there are no streams.
    pub(super) fn next_look(&self) -> Option<Tick> {
        (!self.streams.is_empty()).then(|| self.looked_at.after(LOOK_EVERY))
    }

    /// Returns the streams that have become silent since the last look.
    pub(super) fn look(&mut self, now: Tick) -> Vec<LinkId> {
        let since = now.since(self.looked_at);
        let missed = if since > LATE_AFTER { since } else { Duration::ZERO };
        self.looked_at = now;
        let mut silent = Vec::new();
        for (stream, heard) in &mut self.streams {
            heard.at = heard.at.after(missed).min(now);
            if !heard.is_silent && now.since(heard.at) >= SILENT_AFTER {
                heard.is_silent = true;
                silent.push(*stream);
            }
        }
        silent.sort_unstable();
        silent
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The events, in order.
    enum Step {
        /// This many seconds pass, with a look in each.
        Pass(u64),
        /// This many seconds pass while the program is stopped; then there is a look.
        Stopped(u64),
        /// The stream sends a message; whether it was considered silent.
        Says(bool),
        /// Whether it is considered silent.
        Silent(bool),
    }
    use Step::{Pass, Says, Silent, Stopped};

    #[test]
    fn a_stream_is_silent_after_six_seconds_of_ours_without_a_word() {
        let rows: [(&str, &[Step]); 6] = [
            ("it has just come", &[Silent(false), Pass(5), Silent(false), Pass(1), Silent(true)]),
            (
                "it keeps its promise",
                &[Pass(2), Says(false), Pass(5), Says(false), Pass(5), Silent(false), Pass(1), Silent(true)],
            ),
            ("it comes back", &[Pass(60), Silent(true), Says(true), Silent(false), Pass(5), Silent(false)]),
            (
                "it goes again",
                &[Pass(6), Says(true), Says(false), Pass(5), Silent(false), Pass(1), Silent(true)],
            ),
            (
                "what it sent while we were stopped is still to be read",
                &[Pass(4), Stopped(60), Silent(false), Pass(1), Silent(false), Pass(1), Silent(true)],
            ),
            ("it was silent before we were stopped", &[Pass(6), Stopped(60), Silent(true), Says(true)]),
        ];
        for (name, steps) in rows {
            let mut hearing = Hearing::default();
            let mut now = Tick::from_secs(1_000);
            hearing.expect(LinkId(1), now);
            for (n, step) in steps.iter().enumerate() {
                match step {
                    Pass(seconds) => {
                        for _ in 0..*seconds {
                            now = now.after(Duration::from_secs(1));
                            assert_eq!(hearing.next_look(), Some(now), "{name}, step {n}");
                            hearing.look(now);
                        }
                    }
                    Stopped(seconds) => {
                        now = now.after(Duration::from_secs(*seconds));
                        hearing.look(now);
                    }
                    Says(was) => assert_eq!(hearing.heard(LinkId(1), now), *was, "{name}, step {n}"),
                    Silent(is) => assert_eq!(hearing.is_silent(LinkId(1)), *is, "{name}, step {n}"),
                }
            }
        }
    }

    #[test]
    fn the_silence_of_one_that_promised_nothing_means_nothing_and_nobody_looks_for_it() {
        let mut hearing = Hearing::default();
        assert!(!hearing.heard(LinkId(1), Tick::from_secs(1)));
        assert_eq!(hearing.next_look(), None);
        assert_eq!(hearing.look(Tick::from_secs(1_000)), []);
        assert!(!hearing.is_silent(LinkId(1)));
    }

    #[test]
    fn each_falls_silent_once_and_by_itself() {
        let mut hearing = Hearing::default();
        let mut told = Vec::new();
        for second in 0..30 {
            let now = Tick::from_secs(second);
            match second {
                0..3 => hearing.expect(LinkId(second), now),
                10 => hearing.forget(LinkId(2)),
                _ => {}
            }
            hearing.heard(LinkId(1), now);
            told.extend(hearing.look(now).into_iter().map(|stream| (second, stream.0)));
        }
        assert_eq!(told, [(6, 0), (8, 2)]);
    }
}
