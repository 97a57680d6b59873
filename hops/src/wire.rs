//! Reads messages from a socket.

use std::io;

use tokio::{
    io::{AsyncRead, AsyncReadExt},
    sync::watch,
};

use crate::message::{Field, Framing, Head, chunk_size};

/// Maximum number of bytes of a connection that are recorded; a body of megabytes is not.
const KEPT: usize = 4 * 1024 * 1024;
/// A head that is longer than this is invalid.
const LONGEST_HEAD: usize = 8 * 1024 * 1024;

/// All bytes that were read from a connection so far.
pub type Tape = watch::Sender<Vec<u8>>;

/// The reading half of a connection.
#[derive(Debug)]
pub struct Wire<R> {
    io: R,
    buffer: Vec<u8>,
    tape: Tape,
}

impl<R: AsyncRead + Unpin> Wire<R> {
    /// Reads from `io` and records what it reads on `tape`.
    pub const fn new(io: R, tape: Tape) -> Self {
        Self { io, buffer: Vec::new(), tape }
    }

    /// Returns the next head, including its empty line; `None` if the connection ends before it.
    ///
    /// # Errors
    ///
    /// Returns how the connection broke.
    pub async fn head(&mut self) -> Result<Option<Vec<u8>>, String> {
        loop {
            if let Some(end) = end_of(&self.buffer, b"\r\n\r\n") {
                return Ok(Some(self.buffer.drain(..end).collect()));
            }
            if self.buffer.len() > LONGEST_HEAD {
                return Err("a head without end".into());
            }
            match self.fill().await {
                Ok(0) if self.buffer.is_empty() => return Ok(None),
                Ok(0) => return Err("closed within a head".into()),
                Ok(_) => {}
                Err(error) => return Err(format!("before the end of a head: {error}")),
            }
        }
    }

    /// Reads a body into `body`, and returns its trailers.
    ///
    /// # Errors
    ///
    /// Returns how the connection broke.
    pub async fn body(&mut self, framing: Framing, body: &mut Vec<u8>) -> Result<Vec<Field>, String> {
        match framing {
            Framing::Nothing => {}
            Framing::Length(length) => self.piece(length, body).await?,
            Framing::UntilClose => {
                body.append(&mut self.buffer);
                while self.fill().await.map_err(|error| format!("within the body: {error}"))? > 0 {
                    body.append(&mut self.buffer);
                }
            }
            Framing::Chunked => return self.chunks(body).await,
        }
        Ok(Vec::new())
    }

    async fn chunks(&mut self, body: &mut Vec<u8>) -> Result<Vec<Field>, String> {
        loop {
            let size = chunk_size(&self.until(b"\r\n").await?)?;
            if size == 0 {
                return Head::parse_trailers(&self.trailers().await?);
            }
            self.piece(size, body).await?;
            let mut end = Vec::new();
            self.piece(2, &mut end).await?;
            if end != b"\r\n" {
                return Err("no line end after a chunk".into());
            }
        }
    }

    async fn trailers(&mut self) -> Result<Vec<u8>, String> {
        let mut section = self.until(b"\r\n").await?;
        while section != b"\r\n" && !section.ends_with(b"\r\n\r\n") {
            section.append(&mut self.until(b"\r\n").await?);
        }
        Ok(section)
    }

    async fn until(&mut self, end: &[u8]) -> Result<Vec<u8>, String> {
        loop {
            if let Some(end) = end_of(&self.buffer, end) {
                return Ok(self.buffer.drain(..end).collect());
            }
            self.more().await?;
        }
    }

    async fn piece(&mut self, length: u64, body: &mut Vec<u8>) -> Result<(), String> {
        let mut left = usize::try_from(length).map_err(|_| "a length beyond this machine")?;
        loop {
            let taken = left.min(self.buffer.len());
            body.extend(self.buffer.drain(..taken));
            left -= taken;
            if left == 0 {
                return Ok(());
            }
            self.more().await.map_err(|error| format!("{error}, {left} bytes missing"))?;
        }
    }

    async fn more(&mut self) -> Result<(), String> {
        match self.fill().await {
            Ok(0) => Err("closed within the body".into()),
            Ok(_) => Ok(()),
            Err(error) => Err(format!("within the body: {error}")),
        }
    }

    /// Reads and discards data until the other side closes.
    pub async fn drain(&mut self) {
        while self.fill().await.is_ok_and(|read| read > 0) {
            self.buffer.clear();
        }
    }

    /// Returns bytes that were read and not consumed yet, or the next that arrive; empty at the end.
    ///
    /// # Errors
    ///
    /// Returns an error if the connection broke.
    pub async fn some(&mut self) -> io::Result<Vec<u8>> {
        if self.buffer.is_empty() {
            self.fill().await?;
        }
        Ok(std::mem::take(&mut self.buffer))
    }

    async fn fill(&mut self) -> io::Result<usize> {
        let before = self.buffer.len();
        self.buffer.reserve(64 * 1024);
        let read = self.io.read_buf(&mut self.buffer).await?;
        let new = &self.buffer[before..];
        self.tape.send_modify(|tape| {
            let room = KEPT.saturating_sub(tape.len());
            tape.extend_from_slice(&new[..new.len().min(room)]);
        });
        Ok(read)
    }
}

fn end_of(bytes: &[u8], end: &[u8]) -> Option<usize> {
    bytes.windows(end.len()).position(|window| window == end).map(|at| at + end.len())
}
