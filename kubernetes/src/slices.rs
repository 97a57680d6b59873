//! Builds the EndpointSlices of a service: the endpoints of each of its ports.

use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
};

use k8s_openapi::{
    api::{
        core::v1::ObjectReference,
        discovery::v1::{Endpoint, EndpointConditions, EndpointPort, EndpointSlice},
    },
    apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference},
};

use super::{
    claim::{Frontend, Port, Target},
    facts::{MANAGER_LABEL, OURS, PodFacts, SERVICE_LABEL},
};

/// Maximum number of endpoints in a slice, as in Kubernetes' own controller: watchers get a changed slice as a whole.
const PER_SLICE: usize = 100;

/// A pod with its name.
pub(crate) type Named<'a> = (&'a str, &'a PodFacts);

/// Returns the slices that the Service with `front` should have.
///
/// `own` is where its own port leads; the other ports lead to those of `pods` that are ready. `whose` returns the pod
/// or activator with an address.
pub(crate) fn wanted<'a>(
    front: &Frontend,
    own: &[SocketAddr],
    pods: &[Named<'a>],
    whose: impl Fn(IpAddr) -> Option<Named<'a>>,
) -> Vec<EndpointSlice> {
    let mut slices = Vec::new();
    for family in &front.families {
        let mut groups: BTreeMap<u16, Vec<Endpoint>> = BTreeMap::new();
        for address in own {
            let found = whose(address.ip());
            if let Some(ip) = address_of(address.ip(), found, family) {
                groups.entry(address.port()).or_default().push(endpoint(ip, found));
            }
        }
        let groups: Vec<_> = if groups.is_empty() {
            // An empty slice shows that there are no endpoints, and that Ebb manages them.
            vec![(Vec::new(), Vec::new())]
        } else {
            let ports = |number| vec![endpoint_port(&front.port, number)];
            groups.into_iter().map(|(number, endpoints)| (ports(number), endpoints)).collect()
        };
        push(&mut slices, front, "", family, groups);
        push(&mut slices, front, "other-", family, others(front, pods, family));
    }
    slices
}

/// Returns the endpoints of the ports that are not Ebb's: the ready pods, grouped by their port numbers.
fn others(front: &Frontend, pods: &[Named<'_>], family: &str) -> Vec<(Vec<EndpointPort>, Vec<Endpoint>)> {
    let mut groups: BTreeMap<Vec<u16>, (Vec<EndpointPort>, Vec<Endpoint>)> = BTreeMap::new();
    if front.others.is_empty() {
        return Vec::new();
    }
    for (name, pod) in pods.iter().filter(|(_, pod)| pod.ready) {
        let Some(ip) = pod.ips.iter().find(|ip| is_of(**ip, family)) else { continue };
        let numbered: Vec<(u16, EndpointPort)> = front
            .others
            .iter()
            .filter_map(|port| resolve(&port.target, pod).map(|number| (number, endpoint_port(port, number))))
            .collect();
        let key = numbered.iter().map(|(number, _)| *number).collect();
        let ports = numbered.into_iter().map(|(_, port)| port).collect();
        groups.entry(key).or_insert((ports, Vec::new())).1.push(endpoint(*ip, Some((name, pod))));
    }
    groups.into_values().collect()
}

/// Returns the number of a port at `pod`; `None` if it declares none of that name.
pub(crate) fn resolve(target: &Target, pod: &PodFacts) -> Option<u16> {
    match target {
        Target::Number(number) => Some(*number),
        Target::Name(name) => pod.port(name),
    }
}

fn push(
    slices: &mut Vec<EndpointSlice>,
    front: &Frontend,
    prefix: &str,
    family: &str,
    groups: Vec<(Vec<EndpointPort>, Vec<Endpoint>)>,
) {
    let mut index = 0;
    for (ports, endpoints) in groups {
        let chunks: Vec<&[Endpoint]> =
            if endpoints.is_empty() { vec![&[]] } else { endpoints.chunks(PER_SLICE).collect() };
        for chunk in chunks {
            let suffix = format!("{prefix}{}-{index}", family.to_ascii_lowercase());
            slices.push(slice(front, &suffix, family, ports.clone(), chunk.to_vec()));
            index += 1;
        }
    }
}

fn slice(
    front: &Frontend,
    suffix: &str,
    family: &str,
    ports: Vec<EndpointPort>,
    endpoints: Vec<Endpoint>,
) -> EndpointSlice {
    let labels = [(SERVICE_LABEL, &*front.key.name), (MANAGER_LABEL, OURS)];
    EndpointSlice {
        metadata: ObjectMeta {
            name: Some(format!("{}-ebb-{suffix}", front.key.name)),
            namespace: Some(front.key.namespace.clone()),
            labels: Some(labels.map(|(key, value)| (key.to_owned(), value.to_owned())).into()),
            // Kubernetes deletes them with the Service.
            owner_references: Some(vec![OwnerReference {
                api_version: "v1".to_owned(),
                kind: "Service".to_owned(),
                name: front.key.name.clone(),
                uid: front.uid.clone(),
                ..OwnerReference::default()
            }]),
            ..ObjectMeta::default()
        },
        address_type: family.to_owned(),
        endpoints,
        ports: Some(ports),
    }
}

fn endpoint(ip: IpAddr, whose: Option<Named<'_>>) -> Endpoint {
    Endpoint {
        addresses: vec![ip.to_string()],
        conditions: Some(EndpointConditions { ready: Some(true), ..EndpointConditions::default() }),
        node_name: whose.and_then(|(_, pod)| pod.node.clone()),
        target_ref: whose.map(|(name, _)| ObjectReference {
            kind: Some("Pod".to_owned()),
            name: Some(name.to_owned()),
            ..ObjectReference::default()
        }),
        ..Endpoint::default()
    }
}

fn endpoint_port(port: &Port, number: u16) -> EndpointPort {
    EndpointPort {
        name: Some(port.name.clone().unwrap_or_default()),
        protocol: Some(port.protocol.clone()),
        port: Some(i32::from(number)),
        app_protocol: port.app_protocol.clone(),
    }
}

/// Returns the address in that `family` of the pod or activator with `ip`.
fn address_of(ip: IpAddr, whose: Option<Named<'_>>, family: &str) -> Option<IpAddr> {
    let mut known = whose.into_iter().flat_map(|(_, pod)| pod.ips.iter().copied());
    is_of(ip, family).then_some(ip).or_else(|| known.find(|ip| is_of(*ip, family)))
}

fn is_of(ip: IpAddr, family: &str) -> bool {
    ip.is_ipv4() == (family == "IPv4")
}

#[cfg(test)]
mod tests {
    use ebb_annotations::ClusterDefaults;
    use ebb_core::Tick;
    use serde_json::{Value, json};

    use super::*;
    use crate::claim::{self, Claim, Verdict};

    fn claim(spec: &Value) -> Claim {
        let mut all = json!({"clusterIP": "10.0.0.1", "selector": {"app": "a"}, "ports": [{"name": "http", "port": 80}]});
        for (key, value) in spec.as_object().unwrap() {
            all[key] = value.clone();
        }
        let service = json!({
            "metadata": {"name": "hello", "namespace": "shop", "uid": "1",
                "annotations": {"ebb.dev/scale-target": "Deployment/hello"}},
            "spec": all,
        });
        match claim::read(&serde_json::from_value(service).unwrap(), &ClusterDefaults::default()) {
            Verdict::Ours(claim) => *claim,
            other => panic!("{other:?}"),
        }
    }

    fn pod(ips: &[&str], port: u16) -> PodFacts {
        PodFacts {
            labels: claim::Labels::new(),
            controller: None,
            ips: ips.iter().map(|ip| ip.parse().unwrap()).collect(),
            node: Some("node".to_owned()),
            ready: true,
            has_lost_readiness: false,
            runs_since: None,
            started_at: Tick::ZERO,
            sidecar: None,
            ports: vec![("metrics".to_owned(), port)],
            trouble: None,
            marked: false,
        }
    }

    fn names(slices: &[EndpointSlice]) -> Vec<&str> {
        slices.iter().map(|slice| slice.metadata.name.as_deref().unwrap()).collect()
    }

    fn addresses(slice: &EndpointSlice) -> Vec<&str> {
        slice.endpoints.iter().map(|endpoint| &*endpoint.addresses[0]).collect()
    }

    #[test]
    fn a_slice_has_at_most_a_hundred_endpoints() {
        let own: Vec<SocketAddr> = (0..250).map(|n| SocketAddr::from(([10, 0, 0, n], 8012))).collect();
        let slices = wanted(&claim(&json!({})).front, &own, &[], |_| None);
        assert_eq!(names(&slices), ["hello-ebb-ipv4-0", "hello-ebb-ipv4-1", "hello-ebb-ipv4-2"]);
        assert_eq!(slices.iter().map(|slice| slice.endpoints.len()).sum::<usize>(), 250);
    }

    #[test]
    fn a_service_without_endpoints_has_an_empty_slice() {
        let slices = wanted(&claim(&json!({})).front, &[], &[], |_| None);
        assert_eq!(names(&slices), ["hello-ebb-ipv4-0"]);
        assert!(slices[0].endpoints.is_empty());
    }

    #[test]
    fn pods_with_and_without_a_sidecar_are_in_slices_of_their_own() {
        let own = ["10.0.0.1:8012", "10.0.0.2:80"].map(|text| text.parse().unwrap());
        let slices = wanted(&claim(&json!({})).front, &own, &[], |_| None);
        let ports: Vec<_> = slices.iter().map(|slice| slice.ports.as_ref().unwrap()[0].port).collect();
        assert_eq!(ports, [Some(80), Some(8012)]);
        assert_eq!(slices[0].ports.as_ref().unwrap()[0].name.as_deref(), Some("http"));
    }

    #[test]
    fn every_family_of_the_service_has_its_slices() {
        let claim = claim(&json!({"ipFamilies": ["IPv4", "IPv6"]}));
        let both = pod(&["10.0.0.1", "fd00::1"], 1);
        let own = ["10.0.0.1:8012", "10.0.0.2:8012"].map(|text| text.parse().unwrap());
        let first = own[0];
        let whose = |ip: IpAddr| (ip == SocketAddr::ip(&first)).then_some(("a", &both));
        let slices = wanted(&claim.front, &own, &[], whose);
        assert_eq!(names(&slices), ["hello-ebb-ipv4-0", "hello-ebb-ipv6-0"]);
        assert_eq!(addresses(&slices[0]), ["10.0.0.1", "10.0.0.2"]);
        assert_eq!(addresses(&slices[1]), ["fd00::1"], "the other has none");
        assert_eq!(slices[1].endpoints[0].node_name.as_deref(), Some("node"));
    }

    #[test]
    fn other_ports_lead_to_the_pods_themselves_by_their_own_numbers() {
        let claim = claim(&json!({"ports": [
            {"name": "http", "port": 80},
            {"name": "metrics", "port": 9000, "targetPort": "metrics"},
            {"name": "dns", "port": 53, "protocol": "UDP"},
        ]}));
        let (a, b, mut starting) =
            (pod(&["10.0.0.1"], 9001), pod(&["10.0.0.2"], 9002), pod(&["10.0.0.3"], 9001));
        starting.ready = false;
        let pods = [("a", &a), ("b", &b), ("starting", &starting)];
        let activators = ["10.9.0.1:10001".parse().unwrap()];
        let slices = wanted(&claim.front, &activators, &pods, |_| None);
        assert_eq!(names(&slices), ["hello-ebb-ipv4-0", "hello-ebb-other-ipv4-0", "hello-ebb-other-ipv4-1"]);
        assert_eq!(addresses(&slices[0]), ["10.9.0.1"]);
        assert_eq!((addresses(&slices[1]), addresses(&slices[2])), (vec!["10.0.0.1"], vec!["10.0.0.2"]));
        let ports = slices[1].ports.as_ref().unwrap();
        let described: Vec<_> =
            ports.iter().map(|port| (port.name.as_deref(), port.port, port.protocol.as_deref())).collect();
        assert_eq!(
            described,
            [(Some("metrics"), Some(9001), Some("TCP")), (Some("dns"), Some(53), Some("UDP"))]
        );
    }
}
