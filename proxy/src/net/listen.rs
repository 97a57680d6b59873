use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
};

use tokio::net::{TcpListener, TcpStream};

/// Listens on `address`. The IPv6 wildcard (`[::]`) accepts IPv4, too, and falls back to `0.0.0.0` on a node without
/// IPv6.
///
/// # Errors
///
/// Returns which address failed to bind, and why.
pub async fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let bound = match TcpListener::bind(address).await {
        Err(error) if address.is_ipv6() && address.ip().is_unspecified() && lacks_family(&error) => {
            TcpListener::bind((Ipv4Addr::UNSPECIFIED, address.port())).await
        }
        bound => bound,
    };
    bound.map_err(|error| io::Error::new(error.kind(), format!("cannot listen on {address}: {error}")))
}

/// Returns connections to `listener` that were not accepted yet, and stops listening. It asks the kernel until there
/// are no more, because the runtime's information may be slightly old.
pub(crate) fn accepted_already(listener: TcpListener) -> impl Iterator<Item = (TcpStream, SocketAddr)> {
    let listener = listener.into_std().ok();
    std::iter::from_fn(move || {
        loop {
            match listener.as_ref()?.accept() {
                Ok((stream, peer)) => {
                    stream.set_nonblocking(true).ok()?;
                    return Some((TcpStream::from_std(stream).ok()?, peer));
                }
                // That client has disconnected meanwhile.
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
                Err(_) => return None,
            }
        }
    })
}

/// Returns whether IPv6 is not compiled in (`EAFNOSUPPORT`) or disabled (`EADDRNOTAVAIL`).
fn lacks_family(error: &io::Error) -> bool {
    const EAFNOSUPPORT: i32 = 97;
    error.kind() == io::ErrorKind::AddrNotAvailable || error.raw_os_error() == Some(EAFNOSUPPORT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn everywhere_is_reached_over_ipv4_with_ipv6_or_without() {
        let listener = listen("[::]:0".parse().unwrap()).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        assert!(TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.is_ok());
    }

    #[tokio::test]
    async fn an_address_that_cannot_be_had_is_named() {
        let first = listen("127.0.0.1:0".parse().unwrap()).await.unwrap();
        let taken = first.local_addr().unwrap();
        let error = listen(taken).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
        assert!(error.to_string().contains(&format!("cannot listen on {taken}: ")), "{error}");
    }

    #[test]
    fn a_port_that_is_taken_is_not_sought_in_ipv4() {
        assert!(lacks_family(&io::Error::from_raw_os_error(97)));
        assert!(lacks_family(&io::ErrorKind::AddrNotAvailable.into()));
        assert!(!lacks_family(&io::ErrorKind::AddrInUse.into()));
    }
}
