use std::{io, net::SocketAddr, time::Duration};

use tokio::{net::TcpStream, time::timeout};

use super::Liveness;

/// Connects to `address`. The connection detects a peer that is gone, according to `liveness`.
///
/// # Errors
///
/// Returns [`io::ErrorKind::TimedOut`] if there was no connection `within` the time; otherwise the system's error.
pub async fn connect(address: SocketAddr, within: Duration, liveness: Liveness) -> io::Result<TcpStream> {
    let stream = timeout(within, TcpStream::connect(address))
        .await
        .map_err(|_| io::Error::new(io::ErrorKind::TimedOut, format!("no connection within {within:?}")))??;
    liveness.watch(&stream)?;
    Ok(stream)
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    #[tokio::test]
    async fn who_refuses_is_told_from_who_is_silent() {
        let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        assert!(connect(address, Duration::from_secs(5), Liveness::POD).await.is_ok());
        drop(listener);
        let refused = connect(address, Duration::from_secs(5), Liveness::POD).await.unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
    }
}
