use std::{
    io,
    net::{Ipv4Addr, TcpListener},
    sync::atomic::{AtomicU16, Ordering},
};

/// Ports for apps: below those from which the kernel takes the near end of outgoing connections (32768 on
/// Linux, 49152 elsewhere), so that none of our own connections sits on a port that an app is about to bind.
const FIRST: u16 = 20_000;
const COUNT: u16 = 12_000;

/// Hands out ports for apps.
#[derive(Debug)]
pub(crate) struct Ports {
    next: AtomicU16,
}

impl Ports {
    pub(crate) fn new() -> Self {
        // Two of us on one machine should not try the same ports in the same order.
        Self { next: AtomicU16::new(rand::random_range(0..COUNT)) }
    }

    /// A port on which nobody listens now. The app binds it a moment later; one that finds it taken ends,
    /// and its pod starts again on another.
    pub(crate) fn free(&self) -> io::Result<u16> {
        for _ in 0..COUNT {
            let port = FIRST + self.next.fetch_add(1, Ordering::Relaxed) % COUNT;
            if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
                return Ok(port);
            }
        }
        Err(io::Error::other(format!("no free port from {FIRST} to {}", FIRST + COUNT - 1)))
    }
}
