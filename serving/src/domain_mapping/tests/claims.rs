use kube::ResourceExt;
use serde_json::json;

use super::{DOMAIN, FRONT, cluster, mapping, put, says, settle, step, to_route};
use crate::{
    api::ClusterDomainClaim,
    conditions::READY,
    domain_mapping::{examine, release},
    route::fixtures::{NAMESPACE, now, read},
};

#[test]
fn the_losing_mapping_becomes_ready_by_itself_once_the_winner_is_gone() {
    let mut cluster = cluster();
    put(&mut cluster, mapping(NAMESPACE, DOMAIN, &to_route()));
    settle(&mut cluster, NAMESPACE);
    put(&mut cluster, mapping("other", DOMAIN, &to_route()));
    let mut hello = cluster.hello();
    hello.metadata.namespace = Some("other".to_owned());
    cluster.seen.routes.put("other", "hello", hello);
    let mut front = cluster.services[&(NAMESPACE.to_owned(), "hello".to_owned())].clone();
    front.metadata.namespace = Some("other".to_owned());
    cluster.services.insert(("other".to_owned(), "hello".to_owned()), front);
    let lost =
        examine(cluster.seen.mappings.get("other", DOMAIN).unwrap(), &cluster.seen, &cluster.config, now());
    assert_eq!((lost.writes.len(), lost.status.observed.observed_generation), (0, Some(1)));
    assert!(lost.again.is_some_and(|again| again > now()));
    settle(&mut cluster, "other");
    assert_eq!(
        says(&cluster, "other", READY),
        "False DomainAlreadyClaimed The domain name is already in use by another DomainMapping"
    );
    cluster.seen.mappings.take(NAMESPACE, DOMAIN);
    cluster.services.remove(&(NAMESPACE.to_owned(), FRONT.to_owned()));
    step(&mut cluster, "other");
    step(&mut cluster, "other");
    settle(&mut cluster, "other");
    assert_eq!(says(&cluster, "other", READY), "True");
    assert_eq!(cluster.seen.claims.get("", DOMAIN).unwrap().spec.namespace, "other");
}

#[test]
fn a_missing_claim_and_one_of_an_administrator_are_told_apart() {
    let mut cluster = cluster();
    cluster.config.network.autocreate_claims = false;
    put(&mut cluster, mapping(NAMESPACE, DOMAIN, &to_route()));
    step(&mut cluster, NAMESPACE);
    let said = says(&cluster, NAMESPACE, "DomainClaimed");
    assert!(
        said.starts_with("False ClaimMissing There is no ClusterDomainClaim \"www.example.org\""),
        "{said}"
    );
    cluster.config.network.autocreate_claims = true;
    let reserved: ClusterDomainClaim =
        read(json!({ "metadata": { "name": DOMAIN, "uid": "1" }, "spec": { "namespace": "other" } }));
    cluster.seen.claims.put("", DOMAIN, reserved.clone());
    assert_eq!(step(&mut cluster, NAMESPACE), [], "somebody reserved it before there is a mapping");
    let said = says(&cluster, NAMESPACE, "DomainClaimed");
    assert!(said.starts_with("False DomainAlreadyClaimed The domain name is reserved for"), "{said}");
    assert_eq!(release(&reserved, &cluster.seen, &cluster.config), None);
}

#[test]
fn a_claim_that_was_made_for_a_mapping_is_released_with_it() {
    let mut cluster = cluster();
    put(&mut cluster, mapping(NAMESPACE, DOMAIN, &to_route()));
    step(&mut cluster, NAMESPACE);
    let claim = cluster.seen.claims.get("", DOMAIN).unwrap().clone();
    assert_eq!(release(&claim, &cluster.seen, &cluster.config), None, "it is in use");
    cluster.seen.mappings.take(NAMESPACE, DOMAIN);
    cluster.write(&release(&claim, &cluster.seen, &cluster.config).unwrap());
    assert!(cluster.seen.claims.is_empty());
    cluster.config.network.autocreate_claims = false;
    assert_eq!(release(&claim, &cluster.seen, &cluster.config), None, "claims are an administrator's matter");
}

#[test]
fn who_loses_a_domain_serves_it_no_more() {
    let mut cluster = cluster();
    put(&mut cluster, mapping(NAMESPACE, DOMAIN, &to_route()));
    settle(&mut cluster, NAMESPACE);
    let mut claim = ClusterDomainClaim::clone(cluster.seen.claims.get("", DOMAIN).unwrap());
    claim.spec.namespace = "other".to_owned();
    claim.labels_mut().clear();
    cluster.seen.claims.put("", DOMAIN, claim);
    settle(&mut cluster, NAMESPACE);
    assert!(!cluster.names().contains(&FRONT));
    assert!(says(&cluster, NAMESPACE, "IngressReady").starts_with("Unknown IngressNotConfigured"));
}
