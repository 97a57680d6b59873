//! Interim responses: 100 Continue, 103 Early Hints.

use std::{sync::Arc, task::Waker};

use http::{Response, StatusCode, response};
use parking_lot::Mutex;

/// Maximum number of interim responses pending for one request; further ones are dropped.
const MOST: usize = 16;

/// The channel of interim responses to a client.
#[derive(Clone, Debug, Default)]
pub(crate) struct Interims(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    waiting: Vec<response::Parts>,
    /// The task that writes them.
    writer: Option<Waker>,
}

impl Interims {
    /// Queues `interim` to be written before the response.
    pub(crate) fn push(&self, interim: response::Parts) {
        let mut state = self.0.lock();
        if state.waiting.len() < MOST {
            state.waiting.push(interim);
        }
        if let Some(writer) = state.writer.take() {
            writer.wake();
        }
    }

    /// Asks the client for the body that it holds back.
    pub(crate) fn push_continue(&self) {
        let mut interim = Response::new(());
        *interim.status_mut() = StatusCode::CONTINUE;
        self.push(interim.into_parts().0);
    }

    /// Discards interim responses that came too late for the previous request.
    pub(crate) fn clear(&self) {
        self.0.lock().waiting.clear();
    }

    /// Returns the interim responses to write now. `writer` is woken when there are more.
    pub(crate) fn take(&self, writer: &Waker) -> Vec<response::Parts> {
        let mut state = self.0.lock();
        if !state.writer.as_ref().is_some_and(|known| known.will_wake(writer)) {
            state.writer = Some(writer.clone());
        }
        std::mem::take(&mut state.waiting)
    }
}
