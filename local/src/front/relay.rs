//! Relays bytes between two connections. Most connections are silent most of the time: they have no buffer
//! then, and waiting data is small.

use std::{
    future::poll_fn,
    io,
    net::Shutdown,
    task::{Context, Poll, ready},
};

use socket2::SockRef;
use tokio::{io::Interest, net::TcpStream};

/// The size of a read, in bytes.
const PIECE: usize = 16 * 1024;

/// Relays bytes both ways until both sides have closed.
///
/// # Errors
///
/// Returns an error if either connection fails.
pub(super) async fn both_ways(client: &TcpStream, server: &TcpStream) -> io::Result<()> {
    let (mut up, mut down) = (Way::default(), Way::default());
    // Boxed, and only if needed: usually the client is being read, which shows that it is gone.
    let mut gone = None;
    poll_fn(|cx| {
        let said_all = up.poll(client, server, cx)?.is_ready();
        let heard_all = down.poll(server, client, cx)?.is_ready();
        if said_all && heard_all {
            return Poll::Ready(Ok(()));
        }
        if said_all || !up.rest.is_empty() {
            let gone = gone.get_or_insert_with(|| Box::pin(failed(client)));
            return gone.as_mut().poll(cx).map(Err);
        }
        gone = None;
        Poll::Pending
    })
    .await
}

/// Resolves when a connection fails that is not being read, because its peer has closed its half, or because
/// earlier data cannot be written yet.
async fn failed(connection: &TcpStream) -> io::Error {
    let ready = connection.ready(Interest::ERROR).await;
    let error = ready.err().or_else(|| connection.take_error().ok().flatten());
    error.unwrap_or_else(|| io::ErrorKind::ConnectionReset.into())
}

/// One direction of a relay.
#[derive(Debug, Default)]
struct Way {
    /// Data that was read but not completely written, and how much of it is written.
    rest: Vec<u8>,
    written: usize,
    ended: bool,
}

impl Way {
    /// Relays what is possible now; ready when no more will come.
    fn poll(&mut self, from: &TcpStream, to: &TcpStream, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.ended {
            if self.rest.is_empty() {
                ready!(from.poll_read_ready(cx))?;
                again(self.pass(from, to))?;
            } else {
                ready!(to.poll_write_ready(cx))?;
                again(self.write(to))?;
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Reads once, and writes as much as is accepted.
    fn pass(&mut self, from: &TcpStream, to: &TcpStream) -> io::Result<()> {
        let mut piece = [0; PIECE];
        let read = from.try_read(&mut piece)?;
        if read == 0 {
            self.ended = true;
            return SockRef::from(to).shutdown(Shutdown::Write);
        }
        let piece = &piece[..read];
        let written = match to.try_write(piece) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => 0,
            written => written?,
        };
        self.rest = piece[written..].to_vec();
        Ok(())
    }

    fn write(&mut self, to: &TcpStream) -> io::Result<()> {
        self.written += to.try_write(&self.rest[self.written..])?;
        if self.written == self.rest.len() {
            (self.rest, self.written) = (Vec::new(), 0);
        }
        Ok(())
    }
}

/// The runtime's readiness may be out of date: then it is queried again.
fn again(tried: io::Result<()>) -> io::Result<()> {
    tried.or_else(|error| if error.kind() == io::ErrorKind::WouldBlock { Ok(()) } else { Err(error) })
}

#[cfg(test)]
mod tests {
    use std::{net::Ipv4Addr, time::Duration};

    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::TcpListener,
        time::timeout,
    };

    use super::*;

    const SOON: Duration = Duration::from_secs(20);

    async fn connected() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let (near, far) = tokio::join!(TcpStream::connect(address), listener.accept());
        (near.unwrap(), far.unwrap().0)
    }

    #[tokio::test]
    async fn more_than_a_slow_reader_takes_arrives_whole_and_so_does_the_end() {
        let (mut client, near) = connected().await;
        let (far, mut app) = connected().await;
        let relaying = tokio::spawn(async move { both_ways(&near, &far).await });
        let sent: Vec<u8> = (0..8 * 1024 * 1024).map(|n: u32| n.to_le_bytes()[n as usize % 3]).collect();
        let wanted = sent.clone();
        let sending = tokio::spawn(async move {
            client.write_all(&sent).await.unwrap();
            client.shutdown().await.unwrap();
            let mut heard = String::new();
            client.read_to_string(&mut heard).await.unwrap();
            heard
        });
        let mut got = Vec::new();
        timeout(SOON, app.read_to_end(&mut got)).await.unwrap().unwrap();
        assert!(got == wanted, "{} of {} bytes", got.len(), wanted.len());
        app.write_all(b"thanks").await.unwrap();
        drop(app);
        assert_eq!(timeout(SOON, sending).await.unwrap().unwrap(), "thanks");
        timeout(SOON, relaying).await.unwrap().unwrap().unwrap();
    }

    #[tokio::test]
    async fn a_client_that_resets_its_connection_after_it_has_closed_its_half_ends_it() {
        let (mut client, near) = connected().await;
        let (far, mut app) = connected().await;
        let relaying = tokio::spawn(async move { both_ways(&near, &far).await });
        client.shutdown().await.unwrap();
        assert_eq!(timeout(SOON, app.read(&mut [0])).await.unwrap().unwrap(), 0);
        client.set_zero_linger().unwrap();
        drop(client);
        assert!(timeout(SOON, relaying).await.unwrap().unwrap().is_err());
    }

    #[tokio::test]
    async fn a_client_that_is_gone_while_nobody_takes_what_it_sent_ends_it() {
        let (mut client, near) = connected().await;
        let (far, _app) = connected().await;
        let relaying = tokio::spawn(async move { both_ways(&near, &far).await });
        // More than all buffers on the way hold.
        let more = vec![0; 64 * 1024 * 1024];
        let sending = timeout(Duration::from_millis(500), client.write_all(&more));
        assert!(sending.await.is_err(), "the app reads nothing");
        client.set_zero_linger().unwrap();
        drop(client);
        assert!(timeout(SOON, relaying).await.unwrap().unwrap().is_err());
    }
}
