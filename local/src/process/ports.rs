use std::{
    io,
    net::{Ipv4Addr, TcpListener, UdpSocket},
    sync::atomic::{AtomicU16, Ordering},
};

/// The first port for apps. They are below the kernel's range for outgoing connections (32768 on Linux, 49152
/// elsewhere), so that no connection of ours occupies a port that an app is about to bind.
const FIRST: u16 = 20_000;
const COUNT: u16 = 12_000;

/// Allocates ports for apps.
#[derive(Debug)]
pub(crate) struct Ports {
    next: AtomicU16,
}

/// A port that belongs to one app for as long as this lives.
///
/// Between finding a port free and a slow app binding it, another Ebb on this machine could find it free too,
/// and each would take the other's app for its own. So the UDP port of the same number is held: that disturbs
/// no app, and every Ebb checks it.
#[derive(Debug)]
pub(crate) struct AppPort {
    number: u16,
    _reserved: UdpSocket,
}

impl Ports {
    pub(crate) fn new() -> Self {
        // Two instances on one machine should not try the same ports in the same order.
        Self { next: AtomicU16::new(rand::random_range(0..COUNT)) }
    }

    /// Allocates a port on which nobody listens now. A program other than Ebb may still take it before the
    /// app does.
    pub(crate) fn take(&self) -> io::Result<AppPort> {
        (0..COUNT)
            .map(|_| FIRST + self.next.fetch_add(1, Ordering::Relaxed) % COUNT)
            .find_map(AppPort::reserve)
            .ok_or_else(|| io::Error::other(format!("no free port from {FIRST} to {}", FIRST + COUNT - 1)))
    }
}

impl AppPort {
    fn reserve(number: u16) -> Option<Self> {
        let reserved = UdpSocket::bind((Ipv4Addr::LOCALHOST, number)).ok()?;
        let port = Self { number, _reserved: reserved };
        port.is_free().then_some(port)
    }

    pub(crate) fn number(&self) -> u16 {
        self.number
    }

    /// Returns whether nobody listens on it now.
    pub(crate) fn is_free(&self) -> bool {
        TcpListener::bind((Ipv4Addr::LOCALHOST, self.number)).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_is_one_apps_until_it_is_given_back() {
        let ports = Ports::new();
        let port = ports.take().unwrap();
        assert!(port.is_free(), "the app has not bound it yet");
        assert!(AppPort::reserve(port.number()).is_none());
        let number = port.number();
        drop(port);
        assert!(AppPort::reserve(number).is_some());
    }

    #[test]
    fn a_port_on_which_somebody_listens_is_passed_over() {
        let ports = Ports::new();
        let number = ports.take().unwrap().number();
        let _listener = TcpListener::bind((Ipv4Addr::LOCALHOST, number)).unwrap();
        assert!(AppPort::reserve(number).is_none());
    }
}
