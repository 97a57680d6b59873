use kube::ResourceExt;

use super::cluster;
use crate::{
    api::{Revision, Route, RouteSpec},
    outcome::{Kind, Write},
    route::{
        fixtures::{NAMESPACE, now},
        without_gone,
    },
};

#[test]
fn revisions_are_active_while_a_route_names_them() {
    let mut cluster = cluster();
    cluster.settle();
    assert_eq!(cluster.labels("hello-00001"), (Some("hello"), "active"));
    // The next one is active before it is ready, and the last one stays active until it has no requests.
    cluster.configuration("hello", "hello-00002", Some("hello-00001"), "Unknown");
    cluster.revision("hello", "hello-00002", "Unknown");
    cluster.settle();
    assert_eq!(cluster.labels("hello-00002"), (Some("hello"), "active"));
    cluster.ready("hello", "hello-00002");
    cluster.examine();
    assert_eq!(cluster.labels("hello-00001"), (Some("hello"), "active"), "not known to be in effect");
    cluster.settle();
    assert_eq!(cluster.labels("hello-00001"), (None, "reserve"));
    let modified = cluster.seen.revisions.get(NAMESPACE, "hello-00001").unwrap();
    let modified = modified.annotations().get("serving.knative.dev/routingStateModified");
    assert_eq!(modified.map(String::as_str), Some("2027-01-15T08:00:00Z"));
    let configuration = cluster.seen.configurations.get(NAMESPACE, "hello").unwrap();
    assert_eq!(configuration.annotations().get("serving.knative.dev/routes").unwrap(), "hello");
    assert!(configuration.labels().is_empty());
}

#[test]
fn several_routes_may_name_a_revision_and_those_that_are_gone_are_dropped() {
    let mut cluster = cluster();
    let mut revision = Revision::clone(cluster.seen.revisions.get(NAMESPACE, "hello-00001").unwrap());
    revision.metadata.resource_version = Some("7".to_owned());
    revision.annotations_mut().insert("serving.knative.dev/routes".to_owned(), "gone,zebra".to_owned());
    cluster.seen.revisions.put(NAMESPACE, "hello-00001", revision.clone());
    cluster.seen.routes.put(NAMESPACE, "zebra", Route::new("zebra", RouteSpec::default()));
    let drop = without_gone(Kind::Revision, &revision, &cluster.seen, now()).unwrap();
    cluster.settle();
    assert_eq!(cluster.labels("hello-00001"), (Some("gone,hello,zebra"), "active"));
    let Write::Merge(_, patch) = &drop else { panic!("{drop:?}") };
    assert_eq!(patch["metadata"]["annotations"]["serving.knative.dev/routes"], "zebra");
    assert_eq!(patch["metadata"]["resourceVersion"], "7", "another Route's name must not be lost");
    cluster.seen.routes.take(NAMESPACE, "zebra");
    let last = without_gone(Kind::Revision, &revision, &cluster.seen, now()).unwrap();
    cluster.write(&last);
    assert_eq!(cluster.labels("hello-00001"), (None, "reserve"));
    let revision = cluster.seen.revisions.get(NAMESPACE, "hello-00001").unwrap().clone();
    assert_eq!(without_gone(Kind::Revision, revision.as_ref(), &cluster.seen, now()), None);
}
