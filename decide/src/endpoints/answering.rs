//! Chooses which of a service's activators get its connections.

use std::net::SocketAddr;

/// How certain it is that an activator can be reached.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Standing {
    /// Its stream is heard, and nothing says that it is unhealthy.
    Heard,
    /// Its stream is open but silent, or the platform says that it is not ready.
    Doubtful,
    /// Its stream broke a while ago. Possibly only the stream is affected.
    #[default]
    Gone,
}

/// The activators to which connections of a service may be sent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answering {
    /// Addresses without duplicates, in ascending order.
    pub addresses: Vec<SocketAddr>,
    /// The best standing of any of them.
    pub standing: Standing,
}

impl Answering {
    /// Returns activators that are heard.
    pub fn heard(addresses: Vec<SocketAddr>) -> Self {
        let standing = Standing::Heard;
        Self { addresses, standing }
    }

    /// Returns whether any of them is heard. Only then does silence mean that there is no load.
    pub fn is_heard(&self) -> bool {
        !self.addresses.is_empty() && self.standing == Standing::Heard
    }
}

/// Returns the candidates to which a service's connections are sent: those that are heard. If none is heard, this
/// autoscaler may be cut off, and all of them stay.
pub fn answering(candidates: impl IntoIterator<Item = (SocketAddr, Standing)>) -> Answering {
    let mut candidates: Vec<(SocketAddr, Standing)> = candidates.into_iter().collect();
    let standing = candidates.iter().map(|(_, standing)| *standing).min().unwrap_or_default();
    if standing == Standing::Heard {
        candidates.retain(|(_, of_it)| *of_it == Standing::Heard);
    }
    let mut addresses: Vec<SocketAddr> = candidates.into_iter().map(|(address, _)| address).collect();
    addresses.sort_unstable();
    addresses.dedup();
    Answering { addresses, standing }
}

#[cfg(test)]
mod tests {
    use super::{
        Standing::{Doubtful, Gone, Heard},
        *,
    };

    fn at(n: u8) -> SocketAddr {
        SocketAddr::from(([10, 0, 0, n], 80))
    }

    #[test]
    fn who_is_heard_gets_connections_and_if_nobody_is_all_stay() {
        type Row = (&'static [(u8, Standing)], &'static [u8], Standing);
        let rows: [Row; 9] = [
            (&[], &[], Gone),
            (&[(2, Heard), (1, Heard)], &[1, 2], Heard),
            (&[(1, Heard), (2, Doubtful)], &[1], Heard),
            (&[(1, Heard), (2, Doubtful), (3, Gone)], &[1], Heard),
            (&[(1, Doubtful)], &[1], Doubtful),
            (&[(1, Doubtful), (2, Doubtful)], &[1, 2], Doubtful),
            (&[(1, Doubtful), (2, Gone)], &[1, 2], Doubtful),
            (&[(1, Gone), (2, Gone)], &[1, 2], Gone),
            // One of its two streams is left over.
            (&[(1, Doubtful), (1, Heard), (2, Heard)], &[1, 2], Heard),
        ];
        for (candidates, wanted, standing) in rows {
            let found = answering(candidates.iter().map(|(n, standing)| (at(*n), *standing)));
            let addresses = wanted.iter().map(|n| at(*n)).collect();
            assert_eq!(found, Answering { addresses, standing }, "{candidates:?}");
            assert_eq!(found.is_heard(), standing == Heard, "{candidates:?}");
        }
    }
}
