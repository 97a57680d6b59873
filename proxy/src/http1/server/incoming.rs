use std::{
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http_body::Frame;
use parking_lot::Mutex;

use super::Line;
use crate::{
    body::BodyError,
    http1::{
        chunked::{Decoder, Piece},
        framing::Length,
        inbound::PIECE,
        spelling::Spelling,
    },
    interim::Interims,
};

/// How much of the body of the current request was read.
#[derive(Debug)]
pub(in crate::http1) struct Progress {
    left: Left,
    /// The client sends the body only when it is asked to.
    expects: bool,
    /// The spelling of its trailers, once they have arrived.
    spelling: Option<Box<Spelling>>,
}

#[derive(Debug)]
enum Left {
    Bytes(u64),
    Chunks(Decoder),
    Broken,
}

impl Progress {
    pub(super) const NOTHING: Self = Self { left: Left::Bytes(0), expects: false, spelling: None };

    pub(super) fn of(length: Length, expects: bool) -> Self {
        let left = match length {
            Length::Nothing | Length::UntilClose => Left::Bytes(0),
            Length::Exactly(bytes) => Left::Bytes(bytes),
            Length::Chunked => Left::Chunks(Decoder::new()),
        };
        Self { left, expects, spelling: None }
    }

    /// Returns whether the client still has a part of the body to send.
    pub(super) const fn is_unfinished(&self) -> bool {
        !matches!(self.left, Left::Bytes(0))
    }

    /// Returns whether the client holds the body back and was not asked for it.
    pub(super) const fn is_held_back(&self) -> bool {
        self.expects
    }
}

/// The body of a client's request.
#[derive(Debug)]
pub(crate) struct IncomingBody {
    line: Arc<Mutex<Line>>,
    interims: Interims,
}

impl IncomingBody {
    pub(super) const fn new(line: Arc<Mutex<Line>>, interims: Interims) -> Self {
        Self { line, interims }
    }

    /// Returns whether its client waits to be asked for it.
    pub(crate) fn is_held_back(&self) -> bool {
        self.line.lock().body.is_held_back()
    }

    /// Returns the spelling of the trailers that were read, once.
    pub(crate) fn take_spelling(&mut self) -> Option<Box<Spelling>> {
        self.line.lock().body.spelling.take()
    }

    /// Like `poll_body`, for a request that waits: bytes beyond the returned ones are kept, too, and should be few.
    pub(crate) fn poll_ahead(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        self.line.lock().inbound.read_little();
        self.poll_frame(cx)
    }

    pub(crate) fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let line = &mut *self.line.lock();
        // A client that sends its body without being asked need not be asked any more.
        if std::mem::take(&mut line.body.expects) && line.inbound.unread.is_empty() {
            self.interims.push_continue();
        }
        line.poll_body(cx)
    }
}

/// What could be taken from the bytes that were read.
enum Taken {
    Frame(Frame<Bytes>),
    /// More bytes must be read first.
    Nothing,
    End,
}

impl Line {
    /// Reads more of the body of the request.
    pub(super) fn poll_body(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        loop {
            match self.taken() {
                Ok(Taken::Frame(frame)) => return Poll::Ready(Some(Ok(frame))),
                Ok(Taken::End) => return Poll::Ready(None),
                Ok(Taken::Nothing) => {}
                Err(error) => return Poll::Ready(Some(Err(self.broken(error)))),
            }
            match ready!(self.inbound.poll_more(&mut self.stream, cx)) {
                Ok(0) => return Poll::Ready(Some(Err(self.broken(BodyError::BrokeOff)))),
                Ok(_) => {}
                Err(error) => return Poll::Ready(Some(Err(self.broken(error.into())))),
            }
        }
    }

    fn taken(&mut self) -> Result<Taken, BodyError> {
        let Self { inbound, body, .. } = self;
        match &mut body.left {
            Left::Bytes(0) => Ok(Taken::End),
            Left::Bytes(_) if inbound.unread.is_empty() => Ok(Taken::Nothing),
            Left::Bytes(left) => {
                let there = usize::try_from(*left).unwrap_or(usize::MAX).min(inbound.unread.len()).min(PIECE);
                *left -= there as u64;
                let data = inbound.unread.split_to(there).freeze();
                inbound.release();
                Ok(Taken::Frame(Frame::data(data)))
            }
            Left::Chunks(decoder) => match decoder.decode(&mut inbound.unread)? {
                None => Ok(Taken::Nothing),
                Some(Piece::Data(data)) => Ok(Taken::Frame(Frame::data(data))),
                Some(Piece::Trailers(trailers, spelling)) => {
                    body.left = Left::Bytes(0);
                    body.spelling = Some(spelling);
                    Ok(Taken::Frame(Frame::trailers(trailers)))
                }
                Some(Piece::End) => {
                    body.left = Left::Bytes(0);
                    Ok(Taken::End)
                }
            },
            Left::Broken => Err(BodyError::BrokeOff),
        }
    }

    fn broken(&mut self, error: BodyError) -> BodyError {
        self.body.left = Left::Broken;
        error
    }
}
