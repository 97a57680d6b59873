//! Server-sent events, one by one.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Body, Frame};
use tokio::time::{Interval, MissedTickBehavior, interval};

/// A `text/event-stream` body of a fixed number of events at a fixed distance, numbered from 1.
///
/// A body that waits by itself needs no task that somebody would have to stop when the client leaves.
#[derive(Debug)]
pub(super) struct Events {
    sent: u32,
    count: u32,
    ticks: Interval,
}

impl Events {
    /// The first event is due at once. A distance below one millisecond, the timer's own, counts as that.
    pub(super) fn new(count: u32, distance: Duration) -> Self {
        let mut ticks = interval(distance.max(Duration::from_millis(1)));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self { sent: 0, count, ticks }
    }
}

impl Body for Events {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if self.is_end_stream() {
            return Poll::Ready(None);
        }
        ready!(self.ticks.poll_tick(cx));
        self.sent += 1;
        let event = format!("id: {0}\ndata: event {0} of {1}\n\n", self.sent, self.count);
        Poll::Ready(Some(Ok(Frame::data(event.into()))))
    }

    fn is_end_stream(&self) -> bool {
        self.sent == self.count
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;
    use tokio::time::Instant;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn events_come_at_their_distance_the_first_at_once() {
        let start = Instant::now();
        let mut events = Events::new(3, Duration::from_millis(20));
        let mut times = Vec::new();
        while let Some(frame) = events.frame().await {
            assert!(frame.unwrap().is_data());
            times.push(start.elapsed().as_millis());
        }
        assert_eq!(times, [0, 20, 40]);
    }

    #[tokio::test(start_paused = true)]
    async fn no_events_are_an_empty_body() {
        assert!(Events::new(0, Duration::ZERO).frame().await.is_none());
    }
}
