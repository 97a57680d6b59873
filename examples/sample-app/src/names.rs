//! Names of services, asked of the pod's own name server.
//!
//! A static program cannot ask the C library, which loads its resolver at run time; and all that is needed of a
//! resolver here is what a pod has: one name server, a search list, IPv4.

use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use simple_dns::rdata::RData;
use simple_dns::{CLASS, Name, Packet, PacketFlag, QCLASS, QTYPE, Question, TYPE};
use tokio::net::UdpSocket;
use tokio::time::timeout;

const CONFIGURATION: &str = "/etc/resolv.conf";
const PORT: u16 = 53;
/// As much as a name server sends by UDP to those who say nothing of their own.
const MAX_ANSWER: usize = 512;
/// A datagram that is not answered by then is lost.
const ANSWER_WITHIN: Duration = Duration::from_secs(1);
const TRIES: usize = 3;

/// The first address of `host`, which may be one itself.
///
/// # Errors
///
/// When nobody answers, or no such name is known.
pub(super) async fn resolve(host: &str) -> io::Result<IpAddr> {
    if let Ok(address) = host.trim_matches(['[', ']']).parse() {
        return Ok(address);
    }
    // A few lines, on a file system in memory: not worth a thread.
    let text = std::fs::read_to_string(CONFIGURATION)?;
    let configuration = Configuration::read(&text);
    let server = configuration.server.ok_or_else(|| io::Error::other("no name server"))?;
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).await?;
    socket.connect((server, PORT)).await?;
    for name in configuration.candidates(host) {
        if let Some(address) = ask(&socket, &name).await? {
            return Ok(address.into());
        }
    }
    Err(io::Error::new(io::ErrorKind::NotFound, "no such name"))
}

/// The first IPv4 address of `name`; `None` if it has none.
async fn ask(socket: &UdpSocket, name: &str) -> io::Result<Option<Ipv4Addr>> {
    let name = Name::new(name).map_err(io::Error::other)?;
    let mut query = Packet::new_query(rand::random());
    query.set_flags(PacketFlag::RECURSION_DESIRED);
    query.questions.push(Question::new(name, QTYPE::TYPE(TYPE::A), QCLASS::CLASS(CLASS::IN), false));
    let bytes = query.build_bytes_vec().map_err(io::Error::other)?;
    let mut buffer = [0; MAX_ANSWER];
    for _ in 0..TRIES {
        socket.send(&bytes).await?;
        let Ok(length) = timeout(ANSWER_WITHIN, socket.recv(&mut buffer)).await else { continue };
        let Ok(answer) = Packet::parse(&buffer[..length?]) else { continue };
        if answer.id() == query.id() {
            return Ok(answer.answers.iter().find_map(|record| match &record.rdata {
                RData::A(address) => Some(Ipv4Addr::from(address.address)),
                _ => None,
            }));
        }
    }
    Err(io::Error::new(io::ErrorKind::TimedOut, "the name server does not answer"))
}

/// What `resolv.conf` says.
#[derive(Debug, Default, PartialEq, Eq)]
struct Configuration {
    server: Option<IpAddr>,
    search: Vec<String>,
    /// Names with fewer dots are looked for in the search list first.
    dots: usize,
}

impl Configuration {
    fn read(text: &str) -> Self {
        let mut read = Self { dots: 1, ..Self::default() };
        for line in text.lines() {
            let mut words = line.split_whitespace();
            match words.next() {
                Some("nameserver") if read.server.is_none() => {
                    read.server = words.next().and_then(|address| address.parse().ok());
                }
                Some("search") => read.search = words.map(str::to_owned).collect(),
                Some("options") => {
                    let dots = words.find_map(|option| option.strip_prefix("ndots:")?.parse().ok());
                    read.dots = dots.unwrap_or(read.dots);
                }
                _ => {}
            }
        }
        read
    }

    /// The names that `host` may stand for, in the order in which they are asked for.
    fn candidates(&self, host: &str) -> Vec<String> {
        if let Some(whole) = host.strip_suffix('.') {
            return vec![whole.to_owned()];
        }
        let searched = self.search.iter().map(|suffix| format!("{host}.{suffix}"));
        let own = [host.to_owned()];
        if host.matches('.').count() < self.dots {
            searched.chain(own).collect()
        } else {
            own.into_iter().chain(searched).collect()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const IN_A_POD: &str = "\
search shop.svc.cluster.local svc.cluster.local cluster.local
nameserver 10.96.0.10
nameserver 10.96.0.11
options ndots:5
";

    #[test]
    fn a_pods_configuration_is_understood() {
        let read = Configuration::read(IN_A_POD);
        assert_eq!(read.server, Some("10.96.0.10".parse().unwrap()));
        assert_eq!(read.search.len(), 3);
        assert_eq!(read.dots, 5);
        assert_eq!(Configuration::read(""), Configuration { dots: 1, ..Configuration::default() });
    }

    #[test]
    fn names_with_few_dots_are_searched_for_first() {
        let read = Configuration::read(IN_A_POD);
        let first = |host| read.candidates(host).remove(0);
        assert_eq!(first("cart"), "cart.shop.svc.cluster.local");
        assert_eq!(first("a.b.c.d.e.example"), "a.b.c.d.e.example");
        assert_eq!(read.candidates("cart.shop."), ["cart.shop"]);
        assert_eq!(read.candidates("cart").last().unwrap(), "cart");
    }

    #[tokio::test]
    async fn an_address_needs_no_name_server() {
        assert_eq!(resolve("127.0.0.1").await.unwrap(), IpAddr::from([127, 0, 0, 1]));
        assert_eq!(resolve("[::1]").await.unwrap(), "::1".parse::<IpAddr>().unwrap());
    }
}
