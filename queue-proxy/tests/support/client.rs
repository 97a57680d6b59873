use std::{future::Future, net::SocketAddr};

use bytes::Bytes;
use http::{HeaderValue, Request, Response, header::HOST};
use hyper::{
    body::Incoming,
    client::conn::{http1, http2},
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    task::JoinHandle,
};

use super::{AnyBody, within};

/// One HTTP/1.1 connection.
pub(crate) struct Client {
    sender: http1::SendRequest<AnyBody>,
    connection: JoinHandle<hyper::Result<()>>,
}

impl Client {
    pub(crate) async fn connect(address: SocketAddr) -> Self {
        Self::try_connect(address).await.expect("somebody listens")
    }

    pub(crate) async fn try_connect(address: SocketAddr) -> std::io::Result<Self> {
        let stream = within(TcpStream::connect(address)).await?;
        stream.set_nodelay(true)?;
        // A client that hangs up is gone, and does not wait for a response on a half-closed connection.
        stream.set_zero_linger()?;
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
        Ok(Self { sender, connection: tokio::spawn(connection.with_upgrades()) })
    }

    /// Sends a request and waits for the head of the response.
    #[track_caller]
    pub(crate) fn send(&mut self, request: Request<AnyBody>) -> impl Future<Output = Response<Incoming>> {
        let answer = within(self.try_send(request));
        async { answer.await.expect("an answer") }
    }

    /// Sends a request whose response may not arrive.
    pub(crate) fn try_send(
        &mut self,
        mut request: Request<AnyBody>,
    ) -> impl Future<Output = hyper::Result<Response<Incoming>>> + use<> {
        // Every HTTP/1.1 client sends `Host`.
        request.headers_mut().entry(HOST).or_insert(HeaderValue::from_static("pod"));
        self.sender.send_request(request)
    }

    /// Sends a request; joining the task waits for the response.
    pub(crate) fn start(
        &mut self,
        request: Request<AnyBody>,
    ) -> JoinHandle<hyper::Result<Response<Incoming>>> {
        tokio::spawn(self.try_send(request))
    }

    /// Waits until another request can be sent.
    pub(crate) async fn ready(&mut self) -> hyper::Result<()> {
        within(self.sender.ready()).await
    }

    /// Disconnects, even during a request.
    pub(crate) fn hang_up(self) {
        self.connection.abort();
    }

    /// Returns whether the connection has ended.
    pub(crate) fn is_closed(&self) -> bool {
        self.connection.is_finished()
    }

    /// Waits until the other side has closed the connection.
    pub(crate) async fn closed(&mut self) {
        let _ = within(&mut self.connection).await.expect("the connection's task does not panic");
    }
}

/// One HTTP/2 connection, by prior knowledge.
pub(crate) struct Client2 {
    pub(crate) sender: http2::SendRequest<AnyBody>,
    pub(crate) connection: JoinHandle<hyper::Result<()>>,
}

impl Client2 {
    pub(crate) async fn connect(address: SocketAddr) -> Self {
        let stream = within(TcpStream::connect(address)).await.expect("somebody listens");
        stream.set_nodelay(true).unwrap();
        let (sender, connection) =
            within(http2::handshake(TokioExecutor::new(), TokioIo::new(stream))).await.unwrap();
        Self { sender, connection: tokio::spawn(connection) }
    }

    #[track_caller]
    pub(crate) fn send(
        &mut self,
        request: Request<AnyBody>,
    ) -> impl Future<Output = Response<Incoming>> + use<> {
        let answer = within(self.try_send(request));
        async { answer.await.expect("an answer") }
    }

    pub(crate) fn try_send(
        &mut self,
        request: Request<AnyBody>,
    ) -> impl Future<Output = hyper::Result<Response<Incoming>>> + use<> {
        self.sender.send_request(request)
    }
}

/// A connection on which the test reads and writes bytes.
pub(crate) struct RawClient {
    pub(crate) stream: TcpStream,
}

impl RawClient {
    pub(crate) async fn connect(address: SocketAddr) -> Self {
        Self { stream: within(TcpStream::connect(address)).await.expect("somebody listens") }
    }

    pub(crate) async fn write(&mut self, bytes: impl AsRef<[u8]>) {
        within(self.stream.write_all(bytes.as_ref())).await.unwrap();
    }

    /// Reads until `end` has arrived; returns everything that was read.
    pub(crate) async fn read_to(&mut self, end: &str) -> String {
        let mut read = Vec::new();
        while !read.ends_with(end.as_bytes()) {
            let byte = within(self.stream.read_u8()).await;
            read.push(byte.unwrap_or_else(|error| {
                panic!("{error} before {end:?}, after {:?}", String::from_utf8_lossy(&read))
            }));
        }
        String::from_utf8(read).unwrap()
    }

    /// Reads the head of a response.
    pub(crate) async fn head(&mut self) -> String {
        self.read_to("\r\n\r\n").await.to_lowercase()
    }

    /// Reads until the other side closes.
    pub(crate) async fn rest(&mut self) -> std::io::Result<Bytes> {
        let mut read = Vec::new();
        within(self.stream.read_to_end(&mut read)).await?;
        Ok(read.into())
    }
}
