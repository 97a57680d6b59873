//! A client that sends given bytes, and parses responses strictly.

use std::net::SocketAddr;

use tokio::{
    io::AsyncWriteExt,
    net::{
        TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
};

use crate::{
    Text,
    message::{Field, Framing, Head},
    soon,
    wire::{Tape, Wire},
};

/// One connection.
#[derive(Debug)]
pub struct Client {
    /// The sending half.
    pub write: OwnedWriteHalf,
    /// The receiving half.
    pub answers: Answers,
}

/// The receiving half of a [`Client`].
#[derive(Debug)]
pub struct Answers {
    /// The received bytes, piece by piece.
    pub wire: Wire<OwnedReadHalf>,
    /// All received bytes.
    pub tape: Tape,
}

/// A response, including its interim responses.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answer {
    /// The interim responses.
    pub interim: Vec<Head>,
    /// The status of the final response; 0 if it never arrived.
    pub status: u16,
    /// The head of the final response.
    pub head: Head,
    /// The body.
    pub body: Text,
    /// The trailers.
    pub trailers: Vec<Field>,
    /// Why the response is incomplete, if it is.
    pub fault: Option<String>,
}

impl Answer {
    /// Returns the value of the only field with that name; empty if there is none.
    pub fn field(&self, name: &str) -> Text {
        match &self.head.all(name)[..] {
            [] => Text::default(),
            [value] => (*value).into(),
            several => panic!("{name}: {} times", several.len()),
        }
    }
}

impl Client {
    /// Connects.
    pub async fn connect(address: SocketAddr) -> Self {
        let stream = soon("a connection", TcpStream::connect(address)).await.expect("somebody listens");
        stream.set_nodelay(true).expect("a living socket");
        let (read, write) = stream.into_split();
        let tape = Tape::default();
        Self { write, answers: Answers { wire: Wire::new(read, tape.clone()), tape } }
    }

    /// Sends bytes that the other side must accept.
    pub async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        soon("room to send", self.write.write_all(bytes.as_ref())).await.expect("the other side takes it");
    }

    /// Sends a request without a body and reads the response.
    pub async fn ask(&mut self, request: &str) -> Answer {
        self.send(request).await;
        self.answers.next(request.starts_with("HEAD ")).await
    }
}

impl Answers {
    /// Reads the next response, or as much of it as arrives.
    pub async fn next(&mut self, to_head: bool) -> Answer {
        let mut answer = Answer::default();
        let read = tokio::time::timeout(crate::PATIENCE, self.read(to_head, &mut answer)).await;
        answer.fault = match read {
            Ok(Ok(())) => None,
            Ok(Err(fault)) => Some(fault),
            Err(_) => Some(format!("nothing more came in {:?}", crate::PATIENCE)),
        };
        answer
    }

    async fn read(&mut self, to_head: bool, answer: &mut Answer) -> Result<(), String> {
        loop {
            let bytes = self.wire.head().await?.ok_or("closed without an answer")?;
            let head = Head::parse(&bytes)?;
            let status = head.status()?;
            if (100..200).contains(&status) && status != 101 {
                answer.interim.push(head);
                continue;
            }
            let framing = if status == 101 { Framing::Nothing } else { head.answer_framing(to_head)? };
            (answer.status, answer.head) = (status, head);
            answer.trailers = self.wire.body(framing, &mut answer.body.0).await?;
            return Ok(());
        }
    }

    /// Waits until `text` has been received.
    pub async fn have(tape: &Tape, text: &str) {
        let mut heard = tape.subscribe();
        let has = |heard: &Vec<u8>| heard.windows(text.len()).any(|window| window == text.as_bytes());
        soon(text, heard.wait_for(has)).await.expect("the client lives");
    }
}
