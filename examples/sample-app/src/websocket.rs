//! The WebSocket echo, which outlives the HTTP exchange that opened it.

use futures_util::{SinkExt, StreamExt};
use http::{Request, Response};
use hyper::body::Incoming;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite;
use tokio_tungstenite::tungstenite::handshake::server::create_response_with_body;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// The upgraded connections of one server. hyper's own graceful shutdown forgets a connection once it is upgraded, so
/// these are counted here.
#[derive(Debug, Default)]
pub(super) struct WebSockets {
    open: TaskTracker,
    draining: CancellationToken,
}

impl WebSockets {
    /// Answers an opening handshake with 101 and echoes from then on.
    ///
    /// # Errors
    ///
    /// When the request is not a WebSocket handshake.
    pub(super) fn accept<B: Default>(
        &self,
        request: &mut Request<Incoming>,
    ) -> Result<Response<B>, tungstenite::Error> {
        let response = create_response_with_body(request, B::default)?;
        let upgrade = hyper::upgrade::on(request);
        self.open.spawn(echo(upgrade, self.draining.clone()));
        Ok(response)
    }

    /// Tells every client that the server goes away, and waits until each has answered or left.
    pub(super) async fn drain(&self) {
        self.draining.cancel();
        self.open.close();
        self.open.wait().await;
    }
}

/// Sends every text and binary message back. The protocol's own messages are answered by tungstenite.
async fn echo(upgrade: OnUpgrade, draining: CancellationToken) {
    let Ok(io) = upgrade.await else { return };
    let mut socket = WebSocketStream::from_raw_socket(TokioIo::new(io), Role::Server, None).await;
    loop {
        let message = tokio::select! {
            message = socket.next() => message,
            () = draining.cancelled() => break,
        };
        let Some(Ok(message)) = message else { return };
        if (message.is_text() || message.is_binary()) && socket.send(message).await.is_err() {
            return;
        }
    }
    let goodbye = CloseFrame { code: CloseCode::Away, reason: "draining".into() };
    if socket.close(Some(goodbye)).await.is_ok() {
        // What still arrives was sent before the client heard of the end.
        while let Some(Ok(_)) = socket.next().await {}
    }
}
