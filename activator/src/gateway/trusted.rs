//! The trusted proxies in front of the gateway.

use std::{net::IpAddr, str::FromStr};

/// The addresses of proxies whose forwarding headers are trusted; none by default.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Trusted(Vec<Network>);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Network {
    /// An IPv4 address is mapped to IPv6 (`::ffff:10.0.0.0`).
    prefix: u128,
    mask: u128,
}

impl Trusted {
    /// Returns whether `address` belongs to a trusted proxy.
    pub(crate) fn includes(&self, address: IpAddr) -> bool {
        let bits = bits(address);
        self.0.iter().any(|network| bits & network.mask == network.prefix)
    }
}

/// Parses comma-separated addresses and networks: `10.0.0.0/8, 2001:db8::1`.
impl FromStr for Trusted {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let entries = text.split(',').map(str::trim).filter(|entry| !entry.is_empty());
        entries.map(network).collect::<Option<_>>().map(Self).ok_or(())
    }
}

fn network(text: &str) -> Option<Network> {
    let (address, length) = match text.split_once('/') {
        Some((address, length)) => (address, Some(length.parse::<u32>().ok()?)),
        None => (text, None),
    };
    let address: IpAddr = address.parse().ok()?;
    let most = if address.is_ipv4() { 32 } else { 128 };
    let length = length.unwrap_or(most);
    let host_bits = most.checked_sub(length)?;
    let mask = u128::MAX.checked_shl(host_bits).unwrap_or(0);
    Some(Network { prefix: bits(address) & mask, mask })
}

fn bits(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped().to_bits(),
        IpAddr::V6(address) => address.to_bits(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_and_addresses_are_told_from_others() {
        let trusted: Trusted = "10.0.0.0/8, 192.0.2.7 ,2001:db8::/32".parse().unwrap();
        for (address, is_one) in [
            ("10.255.0.1", true),
            ("11.0.0.1", false),
            ("::ffff:10.0.0.1", true),
            ("192.0.2.7", true),
            ("192.0.2.8", false),
            ("2001:db8:1::1", true),
            ("2001:db9::1", false),
        ] {
            assert_eq!(trusted.includes(address.parse().unwrap()), is_one, "{address}");
        }
        let everybody: Trusted = "::/0".parse().unwrap();
        assert!(everybody.includes("10.0.0.1".parse().unwrap()));
        assert!(!Trusted::default().includes("127.0.0.1".parse().unwrap()));
    }

    #[test]
    fn what_is_no_network_is_refused() {
        for text in ["10.0.0.0/33", "10.0.0/8", "example.com", "10.0.0.0/-1", "::/129", "10.0.0.1/"] {
            assert_eq!(text.parse::<Trusted>(), Err(()), "{text}");
        }
        assert_eq!("".parse(), Ok(Trusted::default()));
    }
}
