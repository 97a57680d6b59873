//! Which of the activators that answer for a service are sent its connections.

use std::net::SocketAddr;

/// How sure it is that an activator is where it says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Standing {
    /// Its stream was heard, and nobody says that it is not well.
    Heard,
    /// Its stream is open and silent, or its platform says that it is not ready.
    Doubtful,
    /// Its stream broke off a while ago. It may be the stream alone.
    #[default]
    Gone,
}

/// Where connections to a service may be sent, if activators are to take them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answering {
    /// Each once, in ascending order.
    pub addresses: Vec<SocketAddr>,
    /// The best standing that one of them has.
    pub standing: Standing,
}

impl Answering {
    /// Activators that are heard.
    pub fn heard(addresses: Vec<SocketAddr>) -> Self {
        let standing = Standing::Heard;
        Self { addresses, standing }
    }

    /// Whether any of them is heard: only then is there nothing where nothing is said.
    pub fn is_heard(&self) -> bool {
        !self.addresses.is_empty() && self.standing == Standing::Heard
    }
}

/// Those who are to have a service's connections, of all who may answer for it: whoever is heard. Where nobody is, it may
/// be that we are deaf, and all stay.
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
