//! The body of an answer of the API server. Each piece of it has a deadline, which is the only way to detect that one
//! answer is stuck on a connection that is otherwise alive.

use std::{
    pin::{Pin, pin},
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::Uri;
use http_body::{Body, Frame, SizeHint};
use thiserror::Error;
use tokio::time::{Instant, Sleep, sleep};
use tower::BoxError;

/// Time limit between two pieces of an answer.
const PIECE_WITHIN: Duration = Duration::from_secs(30);
/// Time limit between two events of a watch. If nothing happens, the API server ends a watch after the requested
/// time, which is never more than 290 s.
const EVENT_WITHIN: Duration = Duration::from_secs(300);

/// An answer got stuck.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("the API server's answer stopped for more than {0:?}")]
pub(super) struct Stuck(Duration);

/// A body whose next piece must arrive in time.
#[derive(Debug)]
pub(super) struct Answer<B> {
    body: B,
    within: Duration,
    /// Reset whenever a piece is awaited.
    late: Pin<Box<Sleep>>,
    waits: bool,
}

impl<B> Answer<B> {
    /// Returns the answer to a request for `uri`.
    pub(super) fn to(uri: &Uri, body: B) -> Self {
        let is_watch =
            uri.query().into_iter().flat_map(|query| query.split('&')).any(|one| one == "watch=true");
        let within = if is_watch { EVENT_WITHIN } else { PIECE_WITHIN };
        Self { body, within, late: Box::pin(sleep(within)), waits: false }
    }
}

impl<B> Body for Answer<B>
where
    B: Body<Data = Bytes, Error: Into<BoxError>> + Unpin,
{
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = &mut *self;
        if let Poll::Ready(piece) = pin!(&mut this.body).poll_frame(cx) {
            this.waits = false;
            return Poll::Ready(piece.map(|piece| piece.map_err(Into::into)));
        }
        if !std::mem::replace(&mut this.waits, true) {
            this.late.as_mut().reset(Instant::now() + this.within);
        }
        this.late.as_mut().poll(cx).map(|()| Some(Err(Stuck(this.within).into())))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use ebb_proxy::stream::ChannelBody;
    use http_body_util::{BodyExt, Empty, Full};
    use tokio::time::advance;

    use super::*;

    const LIST: &str = "https://api/api/v1/pods?limit=100";
    const WATCH: &str = "https://api/api/v1/pods?&watch=true&timeoutSeconds=120";

    #[tokio::test(start_paused = true)]
    async fn each_piece_has_its_time_and_a_watch_has_more_of_it() {
        for (uri, within) in [(LIST, 30), (WATCH, 300)] {
            let (pieces, body) = ChannelBody::new(1);
            let mut answer = Answer::to(&uri.parse().unwrap(), body);
            for _ in 0..3 {
                // While nobody polls, the time is not the API server's.
                advance(Duration::from_secs(1_000)).await;
                let begun = Instant::now();
                let (said, heard) = tokio::join!(
                    async {
                        sleep(Duration::from_secs(within - 1)).await;
                        pieces.send(Bytes::from_static(b"piece")).await
                    },
                    answer.frame()
                );
                said.unwrap();
                assert_eq!(heard.unwrap().unwrap().into_data().unwrap(), "piece", "{uri}");
                assert_eq!(begun.elapsed(), Duration::from_secs(within - 1));
            }
            let begun = Instant::now();
            let error = answer.frame().await.unwrap().unwrap_err();
            let limit = Duration::from_secs(within);
            assert_eq!(error.downcast_ref::<Stuck>(), Some(&Stuck(limit)), "{uri}");
            assert_eq!(begun.elapsed(), limit);
        }
    }

    #[tokio::test]
    async fn everything_else_is_the_bodys_own() {
        let uri: Uri = LIST.parse().unwrap();
        let whole = Answer::to(&uri, Full::new(Bytes::from_static(b"whole")));
        assert_eq!((whole.size_hint().exact(), whole.is_end_stream()), (Some(5), false));
        assert_eq!(whole.collect().await.unwrap().to_bytes(), "whole");
        let empty = Answer::to(&uri, Empty::new());
        assert!(empty.is_end_stream());
        assert_eq!(empty.collect().await.unwrap().to_bytes(), "");
        let trailers =
            http::HeaderMap::from_iter([(http::header::ETAG, http::HeaderValue::from_static("1"))]);
        let with_trailers =
            Full::new(Bytes::new()).with_trailers(std::future::ready(Some(Ok(trailers.clone()))));
        assert_eq!(Answer::to(&uri, with_trailers).collect().await.unwrap().trailers(), Some(&trailers));
    }
}
