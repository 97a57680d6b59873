//! How soon a partner that is silently gone is noticed.
//!
//! Three things can be out when a partner vanishes, and each has its own way to be noticed:
//!
//! - *bytes of ours that nobody acknowledges*: `TCP_USER_TIMEOUT` ends the connection. The kernel counts a partner that
//!   acknowledges and takes nothing (its window is zero) the same way, so that this is also how long a partner may
//!   refuse to read.
//! - *nothing*, while we wait for an answer or for a tunnel's next byte: `SO_KEEPALIVE` asks. When it has asked for long
//!   enough is not what it was told itself: Linux has the time above decide that too, where there is one (`tcp(7)`).
//! - *HTTP/2 streams*: TCP's ways as well, and PING ([`PING`]), which also notices a partner whose kernel lives and whose
//!   process does not.

use std::{io, time::Duration};

use socket2::{SockRef, TcpKeepalive};
use tokio::net::TcpStream;

/// While streams are open, an HTTP/2 partner is asked so often whether it lives; it has as long to answer.
pub const PING: Duration = Duration::from_secs(2);

/// How soon one kind of partner is found to be gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Liveness {
    /// A connection on which nothing came for so long is asked whether it lives.
    pub idle: Duration,
    /// And so often again.
    pub interval: Duration,
    /// After so many questions without an answer it has ended; on Linux, after `unacknowledged`.
    pub probes: u32,
    /// Sent bytes must be taken in this time, and a question answered.
    pub unacknowledged: Duration,
    /// The same where [`Self::may_stall`] says so.
    pub stalled: Duration,
}

/// Who is slow to read gets a minute, as nginx has it.
const STALLED: Duration = Duration::from_secs(60);

impl Liveness {
    /// Clients: gone after 30 s of silence. They may be far away, or asleep for a moment. One that is slow to read an answer
    /// gets the time of [`Self::may_stall`] while more is to be written to it.
    pub const CLIENT: Self = Self {
        idle: Duration::from_secs(15),
        interval: Duration::from_secs(5),
        probes: 3,
        unacknowledged: Duration::from_secs(30),
        stalled: STALLED,
    };

    /// Our own pods and programs, and an app beside its sidecar: gone within 5 s. A request's head and the beginning of its
    /// body fit into the window that a connection opens with, so that in this time only the dead do not take them;
    /// while a longer upload goes on, [`Self::may_stall`] says otherwise.
    pub const POD: Self = Self {
        idle: Duration::from_secs(2),
        interval: Duration::from_secs(1),
        probes: 2,
        unacknowledged: Duration::from_secs(4),
        stalled: STALLED,
    };

    /// Programs of this machine, in front of which we only carry bytes: none vanishes alone, and one may refuse to read for
    /// as long as a request is held there.
    pub const HERE: Self = Self {
        idle: Duration::from_secs(15),
        interval: Duration::from_secs(5),
        probes: 3,
        unacknowledged: Duration::from_secs(60 * 60),
        stalled: Duration::from_secs(60 * 60),
    };

    /// The same, of a partner that may refuse to read for longer. While nothing is written, one that is gone is found to
    /// be so no sooner.
    #[must_use]
    pub const fn may_stall(self) -> Self {
        Self { unacknowledged: self.stalled, ..self }
    }

    /// Has the kernel watch `stream`, and send what is written at once.
    ///
    /// # Errors
    ///
    /// What the system says: the connection is lost already.
    pub fn watch(self, stream: &TcpStream) -> io::Result<()> {
        stream.set_nodelay(true)?;
        let socket = SockRef::from(stream);
        let keepalive = TcpKeepalive::new().with_time(self.idle);
        #[cfg(target_os = "linux")]
        let keepalive = keepalive.with_interval(self.interval).with_retries(self.probes);
        socket.set_tcp_keepalive(&keepalive)?;
        self.limit_unacknowledged(stream)
    }

    /// Changes only how long sent bytes may wait to be taken.
    ///
    /// # Errors
    ///
    /// What the system says: the connection is lost already.
    #[cfg(target_os = "linux")]
    pub fn limit_unacknowledged(self, stream: &TcpStream) -> io::Result<()> {
        SockRef::from(stream).set_tcp_user_timeout(Some(self.unacknowledged))
    }

    /// Only Linux has it.
    ///
    /// # Errors
    ///
    /// None.
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
