use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
};

use tokio::time::{Instant, Sleep, sleep_until};

/// A time limit that is moved by each request. The runtime's timer is reset only when it fires too early, which is
/// once per limit, not once per request.
#[derive(Debug)]
pub(super) struct Patience {
    due: Instant,
    timer: Pin<Box<Sleep>>,
}

impl Patience {
    pub(super) fn until(due: Instant) -> Self {
        Self { due, timer: Box::pin(sleep_until(due)) }
    }

    pub(super) fn set(&mut self, due: Instant) {
        self.due = due;
    }

    /// Resolves when the limit has passed.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            if self.timer.deadline() > self.due {
                self.timer.as_mut().reset(self.due);
            }
            ready!(self.timer.as_mut().poll(cx));
            if self.timer.deadline() >= self.due {
                return Poll::Ready(());
            }
            self.timer.as_mut().reset(self.due);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{future::poll_fn, time::Duration};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_limit_that_moves_is_kept_to_the_end_wherever_it_moves_to() {
        let began = Instant::now();
        let second = |n| began + Duration::from_secs(n);
        let mut patience = Patience::until(second(10));
        let polled = poll_fn(|cx| Poll::Ready(patience.poll(cx)));
        assert!(polled.await.is_pending());
        patience.set(second(30));
        poll_fn(|cx| patience.poll(cx)).await;
        assert_eq!(began.elapsed().as_secs(), 30);
        patience.set(second(100));
        assert!(poll_fn(|cx| Poll::Ready(patience.poll(cx))).await.is_pending());
        patience.set(second(40));
        poll_fn(|cx| patience.poll(cx)).await;
        assert_eq!(began.elapsed().as_secs(), 40);
    }
}
