//! Handles panics of a piece of work as errors.

use std::{any::Any, panic::AssertUnwindSafe};

use futures_util::FutureExt;
use thiserror::Error;

/// The message of a panic.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("it panicked, which is a bug in Ebb: {0}")]
pub struct Panicked(String);

/// Runs `work` and returns its result. `work` must not share anything that a panic could leave in an inconsistent
/// state.
///
/// # Errors
///
/// Returns the message if `work` panicked.
pub async fn caught<T>(work: impl Future<Output = T>) -> Result<T, Panicked> {
    AssertUnwindSafe(work).catch_unwind().await.map_err(|payload| Panicked(said(&*payload)))
}

fn said(payload: &(dyn Any + Send)) -> String {
    let text = payload.downcast_ref::<&str>().copied();
    text.or_else(|| payload.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no word of why")
        .to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_panicked_says_why_and_everything_else_is_as_it_was() {
        assert_eq!(caught(async { 1 }).await, Ok(1));
        let why = |number: u32| async move {
            assert!(number <= 1, "{number} is too much");
        };
        assert_eq!(caught(why(1)).await, Ok(()));
        assert_eq!(caught(why(2)).await, Err(Panicked("2 is too much".into())));
        let odd = async { std::panic::panic_any(7_u8) };
        assert_eq!(caught(odd).await, Err::<(), _>(Panicked("no word of why".into())));
    }
}
