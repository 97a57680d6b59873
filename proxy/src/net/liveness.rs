//! How soon a peer that vanished is detected.
//!
//! When a peer vanishes, one of three things can be outstanding, and each is detected in its own way:
//!
//! - *Bytes of ours that are not acknowledged*: `TCP_USER_TIMEOUT` ends the connection. The kernel treats a peer that
//!   acknowledges but accepts nothing (zero window) in the same way, so this is also how long a peer may refuse to
//!   read.
//! - *Nothing*, while we wait for a response or for a tunnel's next byte: `SO_KEEPALIVE` sends probes. On Linux, if
//!   `TCP_USER_TIMEOUT` is set, it also decides when enough probes were unanswered (`tcp(7)`).
//! - *HTTP/2 streams*: TCP's ways as well, and PING ([`PING`]), which also detects a peer whose kernel is alive but
//!   whose process is not.

use std::{io, time::Duration};

use socket2::{SockRef, TcpKeepalive};
use tokio::net::TcpStream;

/// While streams are open, a silent HTTP/2 peer gets a PING this often, and has as long to answer.
pub const PING: Duration = Duration::from_secs(2);

/// How soon a peer of one kind is found to be gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Liveness {
    /// A connection on which nothing arrived for this long gets a probe,
    pub idle: Duration,
    /// Interval of further probes.
    pub interval: Duration,
    /// The connection has ended after this many probes without an answer; on Linux, after `unacknowledged`.
    pub probes: u32,
    /// Sent bytes must be accepted, and probes answered, within this time.
    pub unacknowledged: Duration,
    /// The same if [`Self::may_stall`] applies.
    pub stalled: Duration,
}

/// A slow reader gets a minute, as in nginx.
const STALLED: Duration = Duration::from_secs(60);

impl Liveness {
    /// Clients are gone after 30 s of silence: they may be far away, or asleep for a moment. While more is to be
    /// written, a client that is slow to read a response gets the time of [`Self::may_stall`].
    pub const CLIENT: Self = Self {
        idle: Duration::from_secs(15),
        interval: Duration::from_secs(5),
        probes: 3,
        unacknowledged: Duration::from_secs(30),
        stalled: STALLED,
    };

    /// Ebb's own pods and programs, and an app beside its sidecar, are gone within 5 s. The head of a request and the
    /// beginning of its body fit into a connection's first window, so only a dead peer does not accept them in this
    /// time. While a longer upload is running, [`Self::may_stall`] applies.
    pub const POD: Self = Self {
        idle: Duration::from_secs(2),
        interval: Duration::from_secs(1),
        probes: 2,
        unacknowledged: Duration::from_secs(4),
        stalled: STALLED,
    };

    /// Programs on this machine for which we only carry bytes: they do not vanish silently, and may refuse to read
    /// for as long as a request is held.
    pub const HERE: Self = Self {
        idle: Duration::from_secs(15),
        interval: Duration::from_secs(5),
        probes: 3,
        unacknowledged: Duration::from_secs(60 * 60),
        stalled: Duration::from_secs(60 * 60),
    };

    /// Returns the limits for a peer that may refuse to read for longer. While nothing is written, a peer that is
    /// gone is not detected sooner.
    #[must_use]
    pub const fn may_stall(self) -> Self {
        Self { unacknowledged: self.stalled, ..self }
    }

    /// Makes the kernel monitor `stream`, and send written data at once.
    ///
    /// # Errors
    ///
    /// Returns the system's error: the connection is lost already.
    pub fn watch(self, stream: &TcpStream) -> io::Result<()> {
        stream.set_nodelay(true)?;
        let socket = SockRef::from(stream);
        let keepalive = TcpKeepalive::new().with_time(self.idle);
        #[cfg(target_os = "linux")]
        let keepalive = keepalive.with_interval(self.interval).with_retries(self.probes);
        socket.set_tcp_keepalive(&keepalive)?;
        self.limit_unacknowledged(stream)
    }

    /// Changes only how long sent bytes may remain unaccepted.
    ///
    /// # Errors
    ///
    /// Returns the system's error: the connection is lost already.
    #[cfg(target_os = "linux")]
    pub fn limit_unacknowledged(self, stream: &TcpStream) -> io::Result<()> {
        SockRef::from(stream).set_tcp_user_timeout(Some(self.unacknowledged))
    }

    /// Does nothing: only Linux has this option.
    ///
    /// # Errors
    ///
    /// Never returns an error.
    #[cfg(not(target_os = "linux"))]
    pub fn limit_unacknowledged(self, _: &TcpStream) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unanswered_questions_end_a_connection_no_later_where_sent_bytes_decide_it() {
        for liveness in [Liveness::CLIENT, Liveness::POD] {
            let asked_for = liveness.idle + liveness.interval * liveness.probes;
            assert!(liveness.unacknowledged <= asked_for, "{liveness:?}");
        }
    }
}
