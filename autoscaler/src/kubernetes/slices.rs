//! The EndpointSlices of a service: where each of its ports leads.

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
    claim::{Claim, Port, Target},
    facts::{MANAGER_LABEL, OURS, PodFacts, SERVICE_LABEL},
};

/// Most endpoints in a slice, as Kubernetes' own controller has it: who watches gets a changed slice whole.
const PER_SLICE: usize = 100;

/// A pod, by its name.
pub(crate) type Named<'a> = (&'a str, &'a PodFacts);

/// The slices that `claim` is to have.
///
/// `own` is where its own port leads; the others lead to those of `pods` that are ready. `whose` finds the pod,
/// or activator, that has an address.
pub(crate) fn wanted<'a>(
    claim: &Claim,
    own: &[SocketAddr],
    pods: &[Named<'a>],
    whose: impl Fn(IpAddr) -> Option<Named<'a>>,
) -> Vec<EndpointSlice> {
    let mut slices = Vec::new();
    for family in &claim.families {
        let mut groups: BTreeMap<u16, Vec<Endpoint>> = BTreeMap::new();
        for address in own {
            let found = whose(address.ip());
            if let Some(ip) = address_of(address.ip(), found, family) {
                groups.entry(address.port()).or_default().push(endpoint(ip, found));
            }
        }
        let groups: Vec<_> = if groups.is_empty() {
            // A slice all the same: it says that nobody takes requests, and that somebody looks after that.
            vec![(Vec::new(), Vec::new())]
        } else {
            let ports = |number| vec![endpoint_port(&claim.port, number)];
            groups.into_iter().map(|(number, endpoints)| (ports(number), endpoints)).collect()
        };
        push(&mut slices, claim, "", family, groups);
        push(&mut slices, claim, "other-", family, others(claim, pods, family));
    }
    slices
}

/// The ports that are not Ebb's, straight to the pods that are ready; pods whose ports have other numbers apart.
fn others(claim: &Claim, pods: &[Named<'_>], family: &str) -> Vec<(Vec<EndpointPort>, Vec<Endpoint>)> {
    let mut groups: BTreeMap<Vec<u16>, (Vec<EndpointPort>, Vec<Endpoint>)> = BTreeMap::new();
    if claim.others.is_empty() {
        return Vec::new();
    }
    for (name, pod) in pods.iter().filter(|(_, pod)| pod.ready) {
        let Some(ip) = pod.ips.iter().find(|ip| is_of(**ip, family)) else { continue };
        let numbered: Vec<(u16, EndpointPort)> = claim
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

/// The number of a port at `pod`; `None` if it declares none of that name.
pub(crate) fn resolve(target: &Target, pod: &PodFacts) -> Option<u16> {
    match target {
        Target::Number(number) => Some(*number),
        Target::Name(name) => pod.port(name),
    }
}

fn push(
    slices: &mut Vec<EndpointSlice>,
    claim: &Claim,
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
            slices.push(slice(claim, &suffix, family, ports.clone(), chunk.to_vec()));
            index += 1;
        }
    }
}

fn slice(
    claim: &Claim,
    suffix: &str,
    family: &str,
    ports: Vec<EndpointPort>,
    endpoints: Vec<Endpoint>,
) -> EndpointSlice {
    let labels = [(SERVICE_LABEL, &*claim.key.name), (MANAGER_LABEL, OURS)];
    EndpointSlice {
        metadata: ObjectMeta {
            name: Some(format!("{}-ebb-{suffix}", claim.key.name)),
            namespace: Some(claim.key.namespace.clone()),
            labels: Some(labels.map(|(key, value)| (key.to_owned(), value.to_owned())).into()),
            // With the Service they go.
            owner_references: Some(vec![OwnerReference {
                api_version: "v1".to_owned(),
                kind: "Service".to_owned(),
                name: claim.key.name.clone(),
                uid: claim.uid.clone(),
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

/// The address of that `family` that whoever has `ip` has.
fn address_of(ip: IpAddr, whose: Option<Named<'_>>, family: &str) -> Option<IpAddr> {
    let mut known = whose.into_iter().flat_map(|(_, pod)| pod.ips.iter().copied());
    is_of(ip, family).then_some(ip).or_else(|| known.find(|ip| is_of(*ip, family)))
}

fn is_of(ip: IpAddr, family: &str) -> bool {
    ip.is_ipv4() == (family == "IPv4")
}
