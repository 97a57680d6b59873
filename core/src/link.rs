//! The messages between activators and the autoscaler, on one HTTP/2 stream that is always open.
//!
//! Activators send reports. The autoscaler sends tables: the services, their ports and their pods. Every
//! [`ServiceEntry`] contains the complete state of its service, so that a lost or repeated message does no harm, and
//! a new stream begins with all of them. An activator has a stream to each autoscaler. Only the leader's tables are
//! valid; announcements of pods are valid from every autoscaler. Messages are protobuf, each preceded by its length
//! ([`frame`], [`Frames`]).

use std::{fmt, mem::take, time::Duration};

use bytes::{Buf, Bytes, BytesMut};
use prost::Message;
use thiserror::Error;

use crate::{ServiceKey, stat::WireStatMessages};

/// The path of the stream on the autoscaler.
pub const PATH: &str = "/v1/activators";
/// Maximum length of a message, in bytes. A table of 1 000 pods has some 100 KiB; a longer one is split into pieces
/// ([`Down::pieces`]).
pub const MAX_MESSAGE_BYTES: usize = 4 * 1024 * 1024;
/// Maximum number of pieces of a table.
pub const MOST_PIECES: usize = 128;

/// Interval of the empty messages that an activator sends when it has nothing to report, if it promised heartbeats in
/// its [`Hello`].
pub const HEARTBEAT_EVERY: Duration = Duration::from_secs(2);

/// A message from an activator to the autoscaler. An empty one is a heartbeat.
#[derive(Clone, PartialEq, Message)]
pub struct Up {
    /// The sender, in the first message.
    #[prost(message, optional, tag = "1")]
    pub hello: Option<Hello>,
    /// The traffic that it carried.
    #[prost(message, optional, tag = "2")]
    pub stats: Option<WireStatMessages>,
    /// The services that it listens for, or why it cannot.
    #[prost(message, repeated, tag = "3")]
    pub listening: Vec<Listening>,
    /// The services whose requests gave up since the last report because no pod answered, each at most once.
    #[prost(message, repeated, tag = "4")]
    pub unanswered: Vec<Unanswered>,
    /// The highest [`number`](Down::number) of this stream up to which everything is applied: from then on, new
    /// requests follow it on every port. 0 says nothing.
    #[prost(uint64, tag = "5")]
    pub applied: u64,
}

/// Introduces an activator.
#[derive(Clone, PartialEq, Eq, Hash, Message)]
pub struct Hello {
    /// Its name, unique among activators.
    #[prost(string, tag = "1")]
    pub name: String,
    /// The address at which it takes requests, without a port.
    #[prost(string, tag = "2")]
    pub address: String,
    /// Whether it is never silent for longer than [`HEARTBEAT_EVERY`]. If not, its silence has no meaning.
    #[prost(bool, tag = "3")]
    pub heartbeats: bool,
    /// Whether it tells which messages it has applied ([`Up::applied`]). If not, nobody knows.
    #[prost(bool, tag = "4")]
    pub confirms: bool,
}

/// Whether an activator answers for a service.
#[derive(Clone, PartialEq, Eq, Hash, Message)]
pub struct Listening {
    /// The service's namespace.
    #[prost(string, tag = "1")]
    pub namespace: String,
    /// The service's name.
    #[prost(string, tag = "2")]
    pub name: String,
    /// The port it listens on.
    #[prost(uint32, tag = "3")]
    pub port: u32,
    /// Why it cannot listen; empty if it listens.
    #[prost(string, tag = "4")]
    pub error: String,
}

/// Requests of a service that waited for the whole activation deadline without a pod that took them.
#[derive(Clone, PartialEq, Eq, Hash, Message)]
pub struct Unanswered {
    /// The service's namespace.
    #[prost(string, tag = "1")]
    pub namespace: String,
    /// The service's name.
    #[prost(string, tag = "2")]
    pub name: String,
    /// The number of requests that gave up.
    #[prost(uint32, tag = "3")]
    pub requests: u32,
}

/// A message from the autoscaler to an activator.
#[derive(Clone, PartialEq, Message)]
pub struct Down {
    /// Services that are new or changed.
    #[prost(message, repeated, tag = "1")]
    pub services: Vec<ServiceEntry>,
    /// Services and routes that no longer exist, as `namespace/name`.
    #[prost(string, repeated, tag = "2")]
    pub gone: Vec<String>,
    /// Whether these are all services and routes: the activator must forget others.
    #[prost(bool, tag = "3")]
    pub complete: bool,
    /// Whether the sender leads. Tables (the three fields above, the routes, the hosts and the certificates) of one
    /// that does not lead are ignored. An autoscaler from before there could be several does not set it, and leads.
    #[prost(bool, optional, tag = "4")]
    pub leads: Option<bool>,
    /// Pods that announced themselves, from any autoscaler.
    #[prost(message, repeated, tag = "5")]
    pub announced: Vec<AnnouncedPod>,
    /// The addresses of all autoscalers, as `ip:port`; empty if not stated.
    #[prost(string, repeated, tag = "6")]
    pub replicas: Vec<String>,
    /// Routes that are new or changed. Routes that no longer exist are in `gone`.
    #[prost(message, repeated, tag = "7")]
    pub routes: Vec<RouteEntry>,
    /// Services and routes whose hosts are new or changed, all in one message, so that a host that moves always has
    /// an owner. With a complete table, those that are missing here have no hosts.
    #[prost(message, repeated, tag = "8")]
    pub hosts: Vec<HostsEntry>,
    /// Certificates that are new or changed. With a complete table, the activator must forget those that are neither
    /// here nor named by any hosts.
    #[prost(message, repeated, tag = "9")]
    pub certificates: Vec<CertificateEntry>,
    /// Whether the sender does not know the hosts, although the table is complete: the activator keeps those that it
    /// knows.
    #[prost(bool, tag = "10")]
    pub hosts_unknown: bool,
    /// Whether the table continues in the next message; only the last one states whether it is complete.
    #[prost(bool, tag = "11")]
    pub continues: bool,
    /// A number that the activator repeats ([`Up::applied`]) once it has applied this message and all before it on
    /// this stream. Numbers of a stream increase; 0 asks for no answer.
    #[prost(uint64, tag = "12")]
    pub number: u64,
}

/// The hosts of a service or a route at the gateway; each host belongs to at most one.
#[derive(Clone, PartialEq, Eq, Hash, Message)]
pub struct HostsEntry {
    /// The namespace of the service or the route.
    #[prost(string, tag = "1")]
    pub namespace: String,
    /// Its name.
    #[prost(string, tag = "2")]
    pub name: String,
    /// Its hosts, as [`crate::Host`] writes them; if empty, the gateway does not serve it.
    #[prost(string, repeated, tag = "3")]
    pub hosts: Vec<String>,
    /// The name of the Secret, in the same namespace, with the certificate of its hosts; if empty, they have no TLS.
    #[prost(string, tag = "4")]
    pub tls_secret: String,
    /// Whether requests without TLS are redirected to the same address with TLS.
    #[prost(bool, tag = "5")]
    pub https_redirect: bool,
}

/// A certificate from a Secret of type `kubernetes.io/tls`. One that is no longer valid has an empty chain.
#[derive(Clone, PartialEq, Eq, Hash, Message)]
#[prost(skip_debug)]
pub struct CertificateEntry {
    /// The Secret's namespace.
    #[prost(string, tag = "1")]
    pub namespace: String,
    /// The Secret's name.
    #[prost(string, tag = "2")]
    pub name: String,
    /// The certificate chain, in PEM format.
    #[prost(bytes = "bytes", tag = "3")]
    pub chain: Bytes,
    /// The private key of its first certificate, in PEM format.
    #[prost(bytes = "bytes", tag = "4")]
    pub key: Bytes,
}

impl fmt::Debug for CertificateEntry {
    /// Does not show the key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { namespace, name, chain, .. } = self;
        let chain = chain.len();
        f.debug_struct("CertificateEntry")
            .field("namespace", namespace)
            .field("name", name)
            .field("chain", &chain)
            .finish_non_exhaustive()
    }
}

impl CertificateEntry {
    /// Returns its Secret.
    pub fn secret(&self) -> ServiceKey {
        ServiceKey::new(self.namespace.clone(), self.name.clone())
    }
}

/// A pod that announced itself.
#[derive(Clone, PartialEq, Eq, Hash, Message)]
pub struct AnnouncedPod {
    /// Its service's namespace.
    #[prost(string, tag = "1")]
    pub namespace: String,
    /// Its service's name.
    #[prost(string, tag = "2")]
    pub name: String,
    /// The pod.
    #[prost(message, optional, tag = "3")]
    pub pod: Option<PodEntry>,
    /// Whether it is draining.
    #[prost(bool, tag = "4")]
    pub draining: bool,
}

/// The complete state of a service for an activator.
#[derive(Clone, PartialEq, Message)]
pub struct ServiceEntry {
    /// The service's namespace.
    #[prost(string, tag = "1")]
    pub namespace: String,
    /// The service's name.
    #[prost(string, tag = "2")]
    pub name: String,
    /// The port on which every activator takes its requests.
    #[prost(uint32, tag = "3")]
    pub port: u32,
    /// Maximum number of concurrent requests per pod; 0 is unlimited.
    #[prost(uint32, tag = "4")]
    pub container_concurrency: u32,
    /// Maximum number of held requests.
    #[prost(uint32, tag = "5")]
    pub queue_depth: u32,
    /// The longest time for which a request is held, in milliseconds.
    #[prost(uint64, tag = "6")]
    pub activation_deadline_ms: u64,
    /// The time limit of a request once a pod has it, in milliseconds.
    #[prost(uint64, tag = "7")]
    pub request_timeout_ms: u64,
    /// Why no pod can serve, in words for a client; empty if nothing is wrong.
    #[prost(string, tag = "8")]
    pub trouble: String,
    /// Its pods, including those that are starting, without those that drain.
    #[prost(message, repeated, tag = "9")]
    pub pods: Vec<PodEntry>,
    /// The number of activators that share the service; 0 and 1 mean only this one.
    #[prost(uint32, tag = "10")]
    pub activators: u32,
    /// The index of this activator among them ([`activator_index`]); not used if there is only one.
    #[prost(uint32, tag = "11")]
    pub activator_index: u32,
    /// Whether pods are chosen by the reference's rules instead of Ebb's.
    #[prost(bool, tag = "12")]
    pub reference_placement: bool,
    /// The age at which a client's connection is asked to close, in milliseconds; 0 disables it.
    #[prost(uint64, tag = "13")]
    pub max_connection_age_ms: u64,
    /// The time without a byte after which an upgraded connection is closed, in milliseconds; 0 disables it.
    #[prost(uint64, tag = "14")]
    pub tunnel_idle_timeout_ms: u64,
    /// The version of HTTP that its app speaks, as [`crate::AppProtocol`] writes it; empty if undeclared.
    #[prost(string, tag = "15")]
    pub app_protocol: String,
}

/// The complete state of a route for an activator: a Service that divides its requests between others of its
/// namespace.
#[derive(Clone, PartialEq, Eq, Hash, Message)]
pub struct RouteEntry {
    /// The route's namespace.
    #[prost(string, tag = "1")]
    pub namespace: String,
    /// The route's name.
    #[prost(string, tag = "2")]
    pub name: String,
    /// The port on which every activator takes its requests.
    #[prost(uint32, tag = "3")]
    pub port: u32,
    /// The services of its split.
    #[prost(message, repeated, tag = "4")]
    pub targets: Vec<SplitTarget>,
    /// The request's value that keeps a user with one target; without it, each request is assigned independently.
    #[prost(message, optional, tag = "5")]
    pub by: Option<SplitKey>,
    /// The age at which a client's connection is asked to close, in milliseconds; 0 disables it.
    #[prost(uint64, tag = "6")]
    pub max_connection_age_ms: u64,
    /// The time without a byte after which an upgraded connection is closed, in milliseconds; 0 disables it.
    #[prost(uint64, tag = "7")]
    pub tunnel_idle_timeout_ms: u64,
}

/// A service that gets a share of a route's requests.
#[derive(Clone, PartialEq, Eq, Hash, Message)]
pub struct SplitTarget {
    /// The service, in the route's namespace.
    #[prost(string, tag = "1")]
    pub service: String,
    /// Its share of the sum of all weights.
    #[prost(uint32, tag = "2")]
    pub weight: u32,
    /// Why it cannot take its share, in words for a client; empty if it can.
    #[prost(string, tag = "3")]
    pub trouble: String,
}

/// The value that keeps a user with one target: exactly one of the fields is set.
#[derive(Clone, PartialEq, Eq, Hash, Message)]
pub struct SplitKey {
    /// The name of a cookie.
    #[prost(string, tag = "1")]
    pub cookie: String,
    /// The name of a header, in lower case.
    #[prost(string, tag = "2")]
    pub header: String,
}

/// One pod of a service.
#[derive(Clone, PartialEq, Eq, Hash, Message)]
pub struct PodEntry {
    /// The pod's name.
    #[prost(string, tag = "1")]
    pub name: String,
    /// Its queue-proxy, as `ip:port`.
    #[prost(string, tag = "2")]
    pub address: String,
    /// The pod's secret: a sender that knows it is trusted as Ebb.
    #[prost(string, tag = "3")]
    pub nonce: String,
    /// Whether it has no queue-proxy. Such a pod is ready if it is listed; it is not probed, and nothing of Ebb's own is
    /// sent to it.
    #[prost(bool, tag = "4")]
    pub direct: bool,
}

/// Maximum length of a piece of a table, in bytes, unless a single entry is longer.
const PIECE_BYTES: usize = 2 * 1024 * 1024;

impl Down {
    /// Splits the message into pieces of readable length; all but the last are marked as continued.
    pub fn pieces(mut self) -> Vec<Self> {
        if self.encoded_len() <= PIECE_BYTES {
            return vec![self];
        }
        let begun = Self { leads: self.leads, continues: true, ..Self::default() };
        let mut pieces = vec![begun.clone()];
        let mut left = PIECE_BYTES;
        let services =
            take(&mut self.services).into_iter().map(|one| Self { services: vec![one], ..begun.clone() });
        let routes =
            take(&mut self.routes).into_iter().map(|one| Self { routes: vec![one], ..begun.clone() });
        let hosts = take(&mut self.hosts).into_iter().map(|one| Self { hosts: vec![one], ..begun.clone() });
        let certificates = take(&mut self.certificates)
            .into_iter()
            .map(|one| Self { certificates: vec![one], ..begun.clone() });
        for entry in services.chain(routes).chain(hosts).chain(certificates) {
            let length = entry.encoded_len();
            if let Some(last) = pieces.last_mut().filter(|_| length <= left) {
                last.append(entry);
            } else {
                left = PIECE_BYTES;
                pieces.push(entry);
            }
            left = left.saturating_sub(length);
        }
        pieces.push(self);
        pieces
    }

    /// Appends the next piece.
    pub fn append(&mut self, next: Self) {
        self.services.extend(next.services);
        self.gone.extend(next.gone);
        self.announced.extend(next.announced);
        self.routes.extend(next.routes);
        self.hosts.extend(next.hosts);
        self.certificates.extend(next.certificates);
        self.replicas = next.replicas;
        (self.complete, self.leads, self.hosts_unknown) = (next.complete, next.leads, next.hosts_unknown);
        (self.continues, self.number) = (next.continues, next.number);
    }

    /// Returns whether its tables are valid.
    pub fn is_of_the_leader(&self) -> bool {
        self.leads != Some(false)
    }
}

impl AnnouncedPod {
    /// Returns the service.
    pub fn service(&self) -> ServiceKey {
        ServiceKey::new(self.namespace.clone(), self.name.clone())
    }
}

impl Listening {
    /// Returns the service.
    pub fn service(&self) -> ServiceKey {
        ServiceKey::new(self.namespace.clone(), self.name.clone())
    }
}

impl Unanswered {
    /// Returns the service.
    pub fn service(&self) -> ServiceKey {
        ServiceKey::new(self.namespace.clone(), self.name.clone())
    }
}

impl ServiceEntry {
    /// Returns the service.
    pub fn service(&self) -> ServiceKey {
        ServiceKey::new(self.namespace.clone(), self.name.clone())
    }
}

impl HostsEntry {
    /// Returns the service or the route.
    pub fn service(&self) -> ServiceKey {
        ServiceKey::new(self.namespace.clone(), self.name.clone())
    }
}

impl RouteEntry {
    /// Returns the route.
    pub fn route(&self) -> ServiceKey {
        ServiceKey::new(self.namespace.clone(), self.name.clone())
    }
}

/// Returns the index of `own` among the activators at `addresses`, in ascending order of their text; `None` if it is
/// not among them. All must compute it alike, because it determines each one's pods.
pub fn activator_index<'a>(addresses: impl IntoIterator<Item = &'a str>, own: &str) -> Option<u32> {
    let (mut before, mut found) = (0, false);
    for address in addresses {
        before += u32::from(address < own);
        found |= address == own;
    }
    found.then_some(before)
}

/// A message that cannot be decoded. The stream is unusable after it.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum FrameError {
    /// The length exceeds the maximum.
    #[error("a message of {0} bytes exceeds the bound of {MAX_MESSAGE_BYTES}")]
    TooLong(usize),
    /// The bytes are not such a message.
    #[error("not a message: {0}")]
    Malformed(#[from] prost::DecodeError),
}

/// Encodes `message`, preceded by its length.
pub fn frame(message: &impl Message) -> Bytes {
    let length = message.encoded_len();
    let mut bytes = BytesMut::with_capacity(4 + length);
    // Ebb's messages are far below 4 GiB; the reader would refuse a longer one.
    bytes.extend_from_slice(&u32::try_from(length).unwrap_or(u32::MAX).to_be_bytes());
    // A BytesMut grows when it is written to.
    let _ = message.encode(&mut bytes);
    bytes.freeze()
}

/// Reassembles messages from the chunks in which they arrive.
#[derive(Debug, Default)]
pub struct Frames {
    buffer: BytesMut,
}

impl Frames {
    /// Adds a chunk.
    pub fn push(&mut self, piece: &[u8]) {
        self.buffer.extend_from_slice(piece);
    }

    /// Returns the next complete message, if there is one.
    ///
    /// # Errors
    ///
    /// Returns a [`FrameError`]; the rest of the stream is then unusable.
    pub fn next_message<M: Message + Default>(&mut self) -> Result<Option<M>, FrameError> {
        let Some(prefix) = self.buffer.first_chunk::<4>() else { return Ok(None) };
        let length = usize::try_from(u32::from_be_bytes(*prefix)).unwrap_or(usize::MAX);
        if length > MAX_MESSAGE_BYTES {
            return Err(FrameError::TooLong(length));
        }
        if self.buffer.len() - 4 < length {
            return Ok(None);
        }
        self.buffer.advance(4);
        let message = self.buffer.split_to(length);
        Ok(Some(M::decode(message)?))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn hello(name: &str) -> Up {
        let (name, address) = (name.into(), "10.0.0.1".into());
        Up { hello: Some(Hello { name, address, ..Hello::default() }), ..Up::default() }
    }

    /// The relevant part of a [`ServiceEntry`] from before activators shared services.
    #[derive(Clone, PartialEq, Message)]
    struct OldEntry {
        #[prost(string, tag = "2")]
        name: String,
        #[prost(message, repeated, tag = "9")]
        pods: Vec<PodEntry>,
    }

    #[test]
    fn an_entry_of_an_older_peer_means_one_activator_alone_and_a_newer_one_is_read_by_it() {
        let pods = vec![PodEntry { name: "pod".into(), ..PodEntry::default() }];
        let old = OldEntry { name: "hello".into(), pods: pods.clone() };
        let alone = ServiceEntry { name: "hello".into(), pods, ..ServiceEntry::default() };
        assert_eq!(ServiceEntry::decode(&*old.encode_to_vec()).unwrap(), alone);
        let shared = ServiceEntry { activators: 3, activator_index: 2, reference_placement: true, ..alone };
        assert_eq!(OldEntry::decode(&*shared.encode_to_vec()).unwrap(), old);
    }

    #[test]
    fn an_older_peer_limits_no_connection_and_is_told_of_limits_in_vain() {
        let old = OldEntry { name: "hello".into(), pods: vec![] };
        let read = ServiceEntry::decode(&*old.encode_to_vec()).unwrap();
        assert_eq!((read.max_connection_age_ms, read.tunnel_idle_timeout_ms), (0, 0));
        let new = ServiceEntry { max_connection_age_ms: 3_600_000, tunnel_idle_timeout_ms: 60_000, ..read };
        assert_eq!(ServiceEntry::decode(&*new.encode_to_vec()).unwrap(), new);
        assert_eq!(OldEntry::decode(&*new.encode_to_vec()).unwrap(), old);
    }

    /// An [`Up`] from before activators reported requests that no pod answered.
    #[derive(Clone, PartialEq, Message)]
    struct OldUp {
        #[prost(message, repeated, tag = "3")]
        listening: Vec<Listening>,
    }

    #[test]
    fn what_no_pod_answered_is_nothing_to_an_older_peer_which_tells_of_none() {
        let old = OldUp { listening: vec![Listening { name: "hello".into(), ..Listening::default() }] };
        let read = Up::decode(&*old.encode_to_vec()).unwrap();
        assert_eq!(read, Up { listening: old.listening.clone(), ..Up::default() });
        let unanswered = vec![Unanswered { namespace: "shop".into(), name: "hello".into(), requests: 2 }];
        let new = Up { unanswered, ..read };
        assert_eq!(OldUp::decode(&*new.encode_to_vec()).unwrap(), old);
        assert_eq!(Up::decode(&*new.encode_to_vec()).unwrap(), new);
    }

    #[test]
    fn an_older_peer_asks_for_no_confirmation_and_a_confirmation_says_nothing_to_it() {
        let down = OldDown { gone: vec!["a/b".into()], complete: false };
        assert_eq!(Down::decode(&*down.encode_to_vec()).unwrap().number, 0);
        let numbered = Down { gone: vec!["a/b".into()], number: 7, ..Down::default() };
        assert_eq!(OldDown::decode(&*numbered.encode_to_vec()).unwrap(), down);
        let up = OldUp { listening: vec![] };
        assert_eq!(Up::decode(&*up.encode_to_vec()).unwrap().applied, 0);
        assert_eq!(OldUp::decode(&*Up { applied: 7, ..Up::default() }.encode_to_vec()).unwrap(), up);
    }

    /// A [`Hello`] from before there were heartbeats.
    #[derive(Clone, PartialEq, Message)]
    struct OldHello {
        #[prost(string, tag = "1")]
        name: String,
        #[prost(string, tag = "2")]
        address: String,
    }

    #[test]
    fn an_older_activator_promises_no_heartbeats_and_those_of_a_newer_one_say_nothing_to_an_older_peer() {
        let old = OldHello { name: "a".into(), address: "10.0.0.1".into() };
        let read = Hello::decode(&*old.encode_to_vec()).unwrap();
        assert_eq!(read, Hello { name: "a".into(), address: "10.0.0.1".into(), ..Hello::default() });
        let new = Hello { heartbeats: true, confirms: true, ..read };
        assert_eq!(OldHello::decode(&*new.encode_to_vec()).unwrap(), old);
        let heartbeat = frame(&Up::default());
        assert_eq!(&*heartbeat, [0; 4]);
        let mut frames = Frames::default();
        frames.push(&heartbeat);
        assert_eq!(frames.next_message(), Ok(Some(OldUp { listening: vec![] })));
    }

    /// A [`Down`] from before there were several autoscalers, and a [`PodEntry`] from before there were pods without
    /// a queue-proxy.
    #[derive(Clone, PartialEq, Message)]
    struct OldDown {
        #[prost(string, repeated, tag = "2")]
        gone: Vec<String>,
        #[prost(bool, tag = "3")]
        complete: bool,
    }

    #[derive(Clone, PartialEq, Message)]
    struct OldPod {
        #[prost(string, tag = "1")]
        name: String,
    }

    #[test]
    fn a_table_of_an_older_peer_is_the_leaders_and_a_followers_message_is_no_table_to_it() {
        let old = OldDown { gone: vec!["a/b".into()], complete: true };
        let read = Down::decode(&*old.encode_to_vec()).unwrap();
        assert_eq!(read, Down { gone: old.gone.clone(), complete: true, ..Down::default() });
        assert!(read.is_of_the_leader());
        let news =
            AnnouncedPod { name: "b".into(), pod: Some(PodEntry::default()), ..AnnouncedPod::default() };
        let new = Down {
            leads: Some(false),
            announced: vec![news],
            replicas: vec!["10.0.0.1:8080".into()],
            ..Down::default()
        };
        assert!(!Down::decode(&*new.encode_to_vec()).unwrap().is_of_the_leader());
        assert_eq!(OldDown::decode(&*new.encode_to_vec()).unwrap(), OldDown::default());
        assert!(Down { leads: Some(true), ..new }.is_of_the_leader());
    }

    #[test]
    fn a_pod_of_an_older_peer_has_a_queue_proxy() {
        let old = OldPod { name: "web-1".into() };
        let read = PodEntry::decode(&*old.encode_to_vec()).unwrap();
        assert_eq!(read, PodEntry { name: "web-1".into(), ..PodEntry::default() });
        assert_eq!(OldPod::decode(&*PodEntry { direct: true, ..read }.encode_to_vec()).unwrap(), old);
    }

    #[test]
    fn vectors_throttler_infer_index() {
        let vectors = ebb_vectors::Vectors::load("throttler.json");
        let rows = vectors.rows("infer_index");
        for row in rows {
            let addresses = ebb_vectors::list(&row[0]).iter().map(|address| address.as_str().unwrap());
            let own = row[1].as_str().unwrap();
            let index = u32::try_from(ebb_vectors::integer(&row[2])).ok();
            assert_eq!(activator_index(addresses.clone(), own), index, "{row}");
            assert_eq!(activator_index(addresses.rev(), own), index, "{row}, in another order");
        }
        println!("{} places compared", rows.len());
    }

    #[test]
    fn messages_survive_any_cut() {
        let sent = [hello("a"), Up::default(), hello(&"b".repeat(300))];
        let bytes: Vec<u8> = sent.iter().flat_map(|message| frame(message).to_vec()).collect();
        for size in 1..20 {
            let mut frames = Frames::default();
            let mut got = Vec::new();
            for piece in bytes.chunks(size) {
                frames.push(piece);
                while let Some(message) = frames.next_message::<Up>().unwrap() {
                    got.push(message);
                }
            }
            assert_eq!(got, sent, "pieces of {size}");
        }
    }

    #[test]
    fn a_table_beyond_measure_is_read_in_pieces_and_is_the_same() {
        let hosts = |n: usize| HostsEntry {
            namespace: "shop".into(),
            name: format!("s{n}"),
            hosts: vec!["h".repeat(250); 64],
            ..HostsEntry::default()
        };
        let certificates = |n: usize| CertificateEntry {
            name: format!("c{n}"),
            chain: vec![7; 32 * 1024].into(),
            ..CertificateEntry::default()
        };
        let table = Down {
            services: vec![ServiceEntry::default(); 3],
            routes: vec![RouteEntry::default()],
            hosts: (0..1000).map(hosts).collect(),
            certificates: (0..200).map(certificates).collect(),
            complete: true,
            leads: Some(true),
            number: 7,
            ..Down::default()
        };
        let pieces = table.clone().pieces();
        assert!(pieces.len() > 5, "{}", pieces.len());
        let mut whole: Option<Down> = None;
        for piece in &pieces {
            assert!(piece.encoded_len() <= PIECE_BYTES);
            assert!(piece.is_of_the_leader());
            assert_eq!(piece.complete, !piece.continues, "only the last one is complete");
            assert_eq!(piece.number > 0, !piece.continues, "only the last one is numbered");
            match &mut whole {
                Some(whole) => whole.append(piece.clone()),
                None => whole = Some(piece.clone()),
            }
        }
        assert_eq!(whole, Some(table));
        let small = Down { complete: true, ..Down::default() };
        assert_eq!(small.clone().pieces(), [small]);
    }

    #[test]
    fn a_length_beyond_the_bound_is_refused_before_it_is_read() {
        let mut frames = Frames::default();
        frames.push(&u32::MAX.to_be_bytes());
        assert_eq!(frames.next_message::<Up>(), Err(FrameError::TooLong(0xffff_ffff)));
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_reader_panic(pieces in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 0..20)) {
            let mut frames = Frames::default();
            for piece in pieces {
                frames.push(&piece);
                while let Ok(Some(_)) = frames.next_message::<Down>() {}
            }
        }
    }
}
