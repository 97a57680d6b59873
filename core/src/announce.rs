//! How a pod announces itself: its queue-proxy tells an autoscaler its address as soon as it listens, long before the
//! API server shows it, and reports when it begins to drain.
//!
//! Announcements can come from any client that reaches the autoscaler: [`read`] accepts only plausible ones, and the
//! pod's nonce proves that one is genuine.

use std::net::{IpAddr, SocketAddr};

use prost::Message;
use thiserror::Error;

use crate::ServiceKey;

/// The path on the autoscaler. It answers 204 if the announcement is accepted; 400 if it is malformed; 403 if the
/// nonce or the address is not the pod's; 404 if the pod is not known yet (try again); 410 if the pod is gone; 503 to
/// try again.
pub const PATH: &str = "/v1/pods";
/// Maximum length of an announcement, in bytes: sixteen services with names of 63 characters take some 1 200.
pub const MAX_BYTES: usize = 4 * 1024;
/// The content type of an [`Announcement`].
pub const CONTENT_TYPE: &str = "application/protobuf";

/// Maximum number of services that a pod may belong to.
const MOST_SERVICES: usize = 16;
/// Maximum length of a pod's name, a DNS subdomain.
const MOST_POD_NAME: usize = 253;
/// Maximum length of a nonce.
const MOST_NONCE: usize = 256;

/// A pod's announcement, as sent.
#[derive(Clone, PartialEq, Eq, Hash, Message)]
pub struct Announcement {
    /// The pod's namespace, and that of its services.
    #[prost(string, tag = "1")]
    pub namespace: String,
    /// The names of the services that select it.
    #[prost(string, repeated, tag = "2")]
    pub services: Vec<String>,
    /// The pod's name.
    #[prost(string, tag = "3")]
    pub pod: String,
    /// Its IP address.
    #[prost(string, tag = "4")]
    pub address: String,
    /// Its queue-proxy's serving port.
    #[prost(uint32, tag = "5")]
    pub serving_port: u32,
    /// Its queue-proxy's stats port.
    #[prost(uint32, tag = "6")]
    pub stats_port: u32,
    /// The secret that only this pod was given.
    #[prost(string, tag = "7")]
    pub nonce: String,
    /// Whether it is draining.
    #[prost(bool, tag = "8")]
    pub draining: bool,
}

/// A plausible announcement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Announced {
    /// The services that select the pod; at least one.
    pub services: Vec<ServiceKey>,
    /// The pod's name.
    pub pod: String,
    /// Its queue-proxy's serving port.
    pub serving: SocketAddr,
    /// Its queue-proxy's stats port.
    pub stats: SocketAddr,
    /// The secret that proves its identity; if empty, it proves nothing.
    pub nonce: String,
    /// Whether it is draining.
    pub draining: bool,
}

/// An announcement that no pod would send.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Malformed {
    /// It is too long.
    #[error("{0} bytes exceed the bound of {MAX_BYTES}")]
    TooLong(usize),
    /// It is not valid protobuf.
    #[error("not an announcement: {0}")]
    NotProtobuf(#[from] prost::DecodeError),
    /// It names no service, or too many.
    #[error("{0} services; want 1 to {MOST_SERVICES}")]
    Services(usize),
    /// A service name is invalid.
    #[error(transparent)]
    ServiceName(#[from] crate::InvalidServiceKey),
    /// The pod name is invalid.
    #[error("not the name of a pod")]
    PodName,
    /// The address is not that of a single host.
    #[error("{0:?} is not the IP address of a pod")]
    Address(String),
    /// A port is invalid.
    #[error("{0} is not a port; want 1 to 65535")]
    Port(u32),
    /// The nonce is too long.
    #[error("a nonce of {0} bytes; want at most {MOST_NONCE}")]
    Nonce(usize),
}

/// Parses and checks an announcement.
///
/// # Errors
///
/// Returns [`Malformed`] if it is not plausible.
pub fn read(bytes: &[u8]) -> Result<Announced, Malformed> {
    if bytes.len() > MAX_BYTES {
        return Err(Malformed::TooLong(bytes.len()));
    }
    Announcement::decode(bytes)?.checked()
}

impl Announcement {
    /// Checks the announcement.
    ///
    /// # Errors
    ///
    /// Returns [`Malformed`] if it is not plausible.
    pub fn checked(self) -> Result<Announced, Malformed> {
        if !(1..=MOST_SERVICES).contains(&self.services.len()) {
            return Err(Malformed::Services(self.services.len()));
        }
        let service = |name: &String| format!("{}/{name}", self.namespace).parse::<ServiceKey>();
        let services = self.services.iter().map(service).collect::<Result<Vec<_>, _>>()?;
        if !is_pod_name(&self.pod) {
            return Err(Malformed::PodName);
        }
        if self.nonce.len() > MOST_NONCE {
            return Err(Malformed::Nonce(self.nonce.len()));
        }
        let address = self.address.parse::<IpAddr>().ok().map(|address| address.to_canonical());
        let Some(address) = address.filter(|address| !address.is_unspecified() && !address.is_multicast())
        else {
            return Err(Malformed::Address(self.address));
        };
        Ok(Announced {
            services,
            pod: self.pod,
            serving: SocketAddr::new(address, port(self.serving_port)?),
            stats: SocketAddr::new(address, port(self.stats_port)?),
            nonce: self.nonce,
            draining: self.draining,
        })
    }
}

fn port(number: u32) -> Result<u16, Malformed> {
    u16::try_from(number).ok().filter(|port| *port > 0).ok_or(Malformed::Port(number))
}

/// Returns whether `name` is a DNS subdomain, as pod names are.
fn is_pod_name(name: &str) -> bool {
    name.len() <= MOST_POD_NAME && name.split('.').all(ServiceKey::is_valid_name)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn sound() -> Announcement {
        Announcement {
            namespace: "shop".into(),
            services: vec!["web".into(), "web-internal".into()],
            pod: "web-7d4b9c-x2x9k".into(),
            address: "10.0.0.7".into(),
            serving_port: 8012,
            stats_port: 9090,
            nonce: "0123456789abcdef".into(),
            draining: false,
        }
    }

    #[test]
    fn what_a_pod_says_becomes_addresses_and_services() {
        let announced = read(&sound().encode_to_vec()).unwrap();
        assert_eq!(
            announced.services,
            [ServiceKey::new("shop", "web"), ServiceKey::new("shop", "web-internal")]
        );
        assert_eq!(announced.serving, "10.0.0.7:8012".parse().unwrap());
        assert_eq!(announced.stats, "10.0.0.7:9090".parse().unwrap());
        let mapped = Announcement { address: "::ffff:10.0.0.7".into(), ..sound() };
        assert_eq!(mapped.checked().unwrap().serving, announced.serving, "one pod, one address");
        let six = Announcement { address: "fd00::7".into(), pod: "web.0".into(), ..sound() };
        assert_eq!(six.checked().unwrap().serving, "[fd00::7]:8012".parse().unwrap());
    }

    /// A description of a fault, and a function that causes it.
    type Spoiled = (&'static str, fn(&mut Announcement));

    #[test]
    fn what_cannot_be_true_is_refused() {
        let cases: [Spoiled; 12] = [
            ("no service", |it| it.services.clear()),
            ("too many services", |it| it.services = vec!["web".into(); 17]),
            ("no namespace", |it| it.namespace.clear()),
            ("another namespace", |it| it.services[0] = "kube-system/web".into()),
            ("no pod", |it| it.pod.clear()),
            ("no such pod", |it| it.pod = "../web".into()),
            ("no address", |it| it.address.clear()),
            ("a port with it", |it| it.address = "10.0.0.7:80".into()),
            ("everywhere", |it| it.address = "0.0.0.0".into()),
            ("many", |it| it.address = "ff02::1".into()),
            ("no port", |it| it.serving_port = 0),
            ("no such port", |it| it.stats_port = 65_536),
        ];
        for (what, spoil) in cases {
            let mut announcement = sound();
            spoil(&mut announcement);
            assert!(read(&announcement.encode_to_vec()).is_err(), "{what}");
        }
        let long = Announcement { nonce: "x".repeat(257), ..sound() };
        assert_eq!(long.checked(), Err(Malformed::Nonce(257)));
        assert_eq!(read(&[0; MAX_BYTES + 1]), Err(Malformed::TooLong(MAX_BYTES + 1)));
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_reader_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = read(&bytes);
        }
    }
}
