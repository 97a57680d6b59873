//! Chooses Ebb's port among a Service's ports.

use ebb_core::AppProtocol;
use k8s_openapi::{api::core::v1::ServicePort, apimachinery::pkg::util::intstr::IntOrString};

/// A port of a Service, and where its connections go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Port {
    /// Its name in the Service; `None` if it is the only port and has none.
    pub(crate) name: Option<String>,
    /// `TCP`, `UDP` or `SCTP`.
    pub(crate) protocol: String,
    /// The Service's `appProtocol`.
    pub(crate) app_protocol: Option<String>,
    /// The Service's port number.
    pub(crate) number: u16,
    /// The port of the pods.
    pub(crate) target: Target,
}

/// A port of a pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    Number(u16),
    /// The name of a port that a container declares.
    Name(String),
}

/// Protocols and port names of apps that speak only HTTP/2, and protocols of those that speak HTTP/1.1.
const HTTP2_PROTOCOLS: [&str; 4] = ["kubernetes.io/h2c", "h2c", "grpc", "http2"];
const HTTP2_NAMES: [&str; 3] = ["h2c", "grpc", "http2"];
const HTTP1_PROTOCOLS: [&str; 3] = ["http", "kubernetes.io/ws", "ws"];

impl Port {
    /// Returns the version of HTTP that the app speaks, by the port's `appProtocol` or else its name. The name `http`
    /// leaves it open.
    pub(crate) fn http_version(&self) -> Option<AppProtocol> {
        match self.app_protocol.as_deref().map(str::to_ascii_lowercase).as_deref() {
            Some(protocol) if HTTP2_PROTOCOLS.contains(&protocol) => Some(AppProtocol::Http2),
            Some(protocol) if HTTP1_PROTOCOLS.contains(&protocol) => Some(AppProtocol::Http1),
            Some(_) => None,
            None => {
                let name = self.name.as_deref().unwrap_or_default();
                // gRPC-Web uses HTTP/1.1.
                let is_web = name == "grpc-web" || name.starts_with("grpc-web-");
                let first = name.split('-').next().unwrap_or_default();
                (HTTP2_NAMES.contains(&first) && !is_web).then_some(AppProtocol::Http2)
            }
        }
    }
}

/// Values of `appProtocol` whose requests can be counted.
const HTTP_PROTOCOLS: [&str; 6] = ["http", "kubernetes.io/h2c", "kubernetes.io/ws", "h2c", "grpc", "http2"];
/// Ports with these names or name prefixes are assumed to be HTTP, as in service meshes.
const HTTP_NAMES: [&str; 4] = ["http", "h2c", "grpc", "web"];
/// Exceptions: encrypted requests cannot be counted.
const NOT_HTTP_NAMES: [&str; 2] = ["https", "tls"];

/// Returns Ebb's port among `ports`, and the others. `chosen` is the annotation's value.
///
/// # Errors
///
/// Returns why no port qualifies, and what to do.
pub(crate) fn split(ports: &[ServicePort], chosen: Option<&str>) -> Result<(Port, Vec<Port>), String> {
    let index = match chosen {
        Some(chosen) => ports
            .iter()
            .position(|port| port.name.as_deref() == Some(chosen) || port.port.to_string() == chosen)
            .ok_or_else(|| format!("ebb.dev/port: the Service has no port {chosen:?}"))?,
        None => default(ports)?,
    };
    if !is_tcp(&ports[index]) {
        return Err("ebb.dev/port: requests are counted on TCP ports only; name another port".to_owned());
    }
    let all: Vec<Port> = ports.iter().map(port).collect::<Result<_, _>>()?;
    let mut others = all;
    let own = others.remove(index);
    Ok((own, others))
}

fn default(ports: &[ServicePort]) -> Result<usize, String> {
    let http = ports.iter().position(is_http);
    let mut tcp = ports.iter().enumerate().filter(|(_, port)| is_tcp(port));
    match (http, tcp.next(), tcp.next()) {
        (Some(index), ..) => Ok(index),
        (None, Some((index, port)), None) if says_nothing(port) => Ok(index),
        (None, None, _) => Err("the Service has no TCP port; Ebb scales what speaks HTTP".to_owned()),
        _ => Err(
            "no port of the Service says that it speaks HTTP; name it in the annotation ebb.dev/port, or \
                  set appProtocol: http"
                .to_owned(),
        ),
    }
}

fn is_tcp(port: &ServicePort) -> bool {
    port.protocol.as_deref().is_none_or(|protocol| protocol == "TCP")
}

fn is_http(port: &ServicePort) -> bool {
    let name = port.name.as_deref().unwrap_or_default();
    is_tcp(port)
        && match port.app_protocol.as_deref() {
            Some(protocol) => HTTP_PROTOCOLS.contains(&protocol.to_ascii_lowercase().as_str()),
            None => {
                HTTP_NAMES.iter().any(|prefix| name.starts_with(prefix))
                    && !NOT_HTTP_NAMES.iter().any(|prefix| name.starts_with(prefix))
            }
        }
}

/// Returns whether a port leaves its application protocol open.
fn says_nothing(port: &ServicePort) -> bool {
    let name = port.name.as_deref().unwrap_or_default();
    port.app_protocol.is_none() && !NOT_HTTP_NAMES.iter().any(|prefix| name.starts_with(prefix))
}

fn port(port: &ServicePort) -> Result<Port, String> {
    let number = |number: i32| u16::try_from(number).map_err(|_| format!("{number} is no port of a pod"));
    let own = number(port.port)?;
    let target = match &port.target_port {
        None | Some(IntOrString::Int(0)) => Target::Number(own),
        Some(IntOrString::Int(target)) => Target::Number(number(*target)?),
        Some(IntOrString::String(name)) => match name.parse::<u16>() {
            Ok(target) => Target::Number(target),
            Err(_) => Target::Name(name.clone()),
        },
    };
    Ok(Port {
        name: port.name.clone(),
        protocol: port.protocol.clone().unwrap_or_else(|| "TCP".to_owned()),
        app_protocol: port.app_protocol.clone(),
        number: own,
        target,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(name: &str, number: i32) -> ServicePort {
        ServicePort { name: Some(name.to_owned()), port: number, ..ServicePort::default() }
    }

    fn speaking(name: &str, protocol: &str) -> ServicePort {
        ServicePort { app_protocol: Some(protocol.to_owned()), ..named(name, 80) }
    }

    fn udp(name: &str) -> ServicePort {
        ServicePort { protocol: Some("UDP".to_owned()), ..named(name, 53) }
    }

    fn own(ports: &[ServicePort], chosen: Option<&str>) -> Option<String> {
        split(ports, chosen).ok().map(|(own, _)| own.name.unwrap_or_default())
    }

    #[test]
    fn the_first_http_port_is_ebbs() {
        let only = ServicePort { port: 80, ..ServicePort::default() };
        for (ports, is) in [
            (vec![only.clone()], Some("")),
            (vec![named("anything", 80)], Some("anything")),
            (vec![named("metrics", 9090), named("http", 80)], Some("http")),
            (vec![named("https", 443), named("web", 80)], Some("web")),
            (vec![named("db", 5432), speaking("x", "kubernetes.io/h2c")], Some("x")),
            (vec![speaking("http", "mysql"), speaking("a", "HTTP")], Some("a")),
            (vec![udp("dns"), named("api", 80)], Some("api")),
            (vec![named("a", 1), named("b", 2)], None),
            (vec![named("https", 443)], None),
            (vec![speaking("web", "tcp")], None),
            (vec![udp("http")], None),
            (vec![], None),
        ] {
            assert_eq!(own(&ports, None).as_deref(), is, "{ports:?}");
        }
    }

    #[test]
    fn the_annotation_names_it_or_numbers_it() {
        let ports = [named("a", 1), named("b", 2), udp("c")];
        assert_eq!(own(&ports, Some("b")).as_deref(), Some("b"));
        assert_eq!(own(&ports, Some("1")).as_deref(), Some("a"));
        assert_eq!(own(&ports, Some("c")), None, "UDP");
        assert_eq!(own(&ports, Some("d")), None);
    }

    #[test]
    fn the_target_is_a_number_or_a_name_and_the_port_itself_if_nothing_is_said() {
        let with = |target| ServicePort { target_port: target, ..named("http", 80) };
        for (target, is) in [
            (None, Target::Number(80)),
            (Some(IntOrString::Int(8080)), Target::Number(8080)),
            (Some(IntOrString::String("app".into())), Target::Name("app".into())),
            (Some(IntOrString::String("81".into())), Target::Number(81)),
        ] {
            assert_eq!(split(&[with(target)], None).unwrap().0.target, is);
        }
        assert!(split(&[with(Some(IntOrString::Int(70000)))], None).is_err());
    }
}
