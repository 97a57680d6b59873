//! Answers before the answer: 100 Continue, 103 Early Hints.

use std::{sync::Arc, task::Waker};

use http::{Response, StatusCode, response};
use parking_lot::Mutex;

/// So many may wait to be written for one request; an app that sends more has those dropped.
const MOST: usize = 16;

/// The way of interim answers to a client.
#[derive(Clone, Debug, Default)]
pub(crate) struct Interims(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    waiting: Vec<response::Parts>,
    /// Who writes them.
    writer: Option<Waker>,
}

impl Interims {
    /// Has `interim` written before the answer.
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

    /// Forgets what came too late for the request before.
    pub(crate) fn clear(&self) {
        self.0.lock().waiting.clear();
    }

    /// What is to be written now; `writer` is woken when there is more.
    pub(crate) fn take(&self, writer: &Waker) -> Vec<response::Parts> {
        let mut state = self.0.lock();
        if !state.writer.as_ref().is_some_and(|known| known.will_wake(writer)) {
            state.writer = Some(writer.clone());
        }
        std::mem::take(&mut state.waiting)
    }
}
