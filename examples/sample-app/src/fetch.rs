//! A GET of another address, by name: what one service of a cluster does with another.

use std::io;

use bytes::Bytes;
use http::{Request, Response, Uri, header, uri::Scheme};
use http_body_util::Empty;
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use thiserror::Error;
use tokio::net::TcpStream;

use super::names;

const DEFAULT_PORT: u16 = 80;

/// Why there is no answer.
#[derive(Debug, Error)]
pub(super) enum FetchError {
    #[error("want http://HOST[:PORT]/PATH")]
    NotHttp,
    #[error("the name cannot be resolved: {0}")]
    Name(#[source] io::Error),
    #[error("cannot connect: {0}")]
    Connect(#[source] io::Error),
    #[error("{0}")]
    Http(#[from] hyper::Error),
    #[error("{0}")]
    Request(#[from] http::Error),
}

/// Asks `url` on a connection of its own.
pub(super) async fn fetch(url: &Uri) -> Result<Response<Incoming>, FetchError> {
    if url.scheme() != Some(&Scheme::HTTP) {
        return Err(FetchError::NotHttp);
    }
    let authority = url.authority().ok_or(FetchError::NotHttp)?;
    let address = names::resolve(authority.host()).await.map_err(FetchError::Name)?;
    let port = authority.port_u16().unwrap_or(DEFAULT_PORT);
    let stream = TcpStream::connect((address, port)).await.map_err(FetchError::Connect)?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    // Ends with the answer's body, or with its sender.
    tokio::spawn(connection);
    let path = url.path_and_query().map_or("/", |path| path.as_str());
    let request = Request::get(path)
        .header(header::HOST, authority.as_str())
        .header(header::CONNECTION, "close")
        .body(Empty::<Bytes>::new())?;
    Ok(sender.send_request(request).await?)
}
