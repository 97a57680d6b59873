//! The writes, step by step, into a simulated cluster.

use std::collections::{BTreeMap, BTreeSet};

use ebb_cluster::watches::Name;
use ebb_core::Tick;
use kube::core::ObjectMeta;

use super::*;
use crate::http_routes::{
    desk::{Desk, News, Step},
    object::Seen,
};

#[derive(Default)]
struct Cluster {
    desk: Desk,
    objects: BTreeMap<Name, Value>,
    made: u32,
    /// Descriptions of the writes.
    log: Vec<String>,
}

fn named(name: &str) -> Name {
    ("shop".to_owned(), name.to_owned())
}

fn metadata(object: &Value) -> ObjectMeta {
    serde_json::from_value(object["metadata"].clone()).unwrap()
}

impl Cluster {
    /// Creates a cluster with a Service that has two HTTPRoutes.
    fn written() -> Self {
        let mut cluster = Self::default();
        cluster.desk.listed(&[].into());
        cluster.want(wanted(&[("hello", 17)]));
        assert_eq!(cluster.take_log(), ["make hello-ebb", "make hello-ebb-2"]);
        cluster
    }

    fn want(&mut self, wanted: Wanted) {
        let News { losing, others } = self.desk.want(wanted);
        self.settle(&others);
        self.settle(&losing);
    }

    fn take_log(&mut self) -> Vec<String> {
        std::mem::take(&mut self.log)
    }

    fn settle(&mut self, news: &BTreeSet<ServiceKey>) {
        for key in news {
            for _ in 0..10 {
                let Some(step) = self.desk.step(key) else { break };
                self.write(step);
            }
            assert_eq!(self.desk.step(key), None, "it never rests: {:?}", self.log);
        }
    }

    fn write(&mut self, step: Step) {
        match step {
            Step::Apply { name, mut object, there } => {
                let wanted = object.clone();
                let before = self.objects.get(&named(&name));
                assert_eq!(before.map(|before| &before["metadata"]["uid"]), there.map(Value::from).as_ref());
                self.log.push(format!("{} {name}", if before.is_some() { "change" } else { "make" }));
                self.made += 1;
                let (uid, generation) = match before {
                    Some(before) => {
                        let metadata = metadata(before);
                        (metadata.uid.unwrap(), metadata.generation.unwrap() + 1)
                    }
                    None => (format!("u{}", self.made), 1),
                };
                object["metadata"]["uid"] = json!(uid);
                object["metadata"]["generation"] = json!(generation);
                let seen = Seen::of(&metadata(&object)).unwrap();
                self.objects.insert(named(&name), object);
                self.desk.applied(named(&name), wanted, seen, Tick::from_secs(1));
            }
            Step::Delete { name, uid } => {
                self.log.push(format!("delete {name}"));
                assert_eq!(self.objects.remove(&named(&name)).unwrap()["metadata"]["uid"], *uid);
                self.desk.deleted(&named(&name));
            }
        }
    }

    /// The watch reports the current state.
    fn tell(&mut self, name: &str) {
        let seen = Seen::of(&metadata(&self.objects[&named(name)]));
        let news = self.desk.saw(&named(name), seen);
        self.settle(&news);
    }
}

#[test]
fn nothing_is_written_before_all_of_ours_are_known() {
    let mut cluster = Cluster::default();
    cluster.want(wanted(&[("hello", 1)]));
    assert_eq!(cluster.take_log(), [""; 0]);
    let news = cluster.desk.listed(&[].into());
    cluster.settle(&news);
    assert_eq!(cluster.take_log(), ["make hello-ebb"]);
    cluster.tell("hello-ebb");
    assert_eq!(cluster.take_log(), [""; 0], "what we wrote is no news");
}

#[test]
fn hosts_that_go_take_their_http_routes_along() {
    let mut cluster = Cluster::written();
    cluster.want(wanted(&[("hello", 16)]));
    assert_eq!(cluster.take_log(), ["delete hello-ebb-2"]);
    cluster.want(wanted(&[("hello", 15), ("other", 1)]));
    assert_eq!(cluster.take_log(), ["make other-ebb", "change hello-ebb"]);
    cluster.want(wanted(&[("other", 1)]));
    assert_eq!(cluster.take_log(), ["delete hello-ebb"]);
    assert!(!cluster.desk.is_empty());
    cluster.want(Wanted::default());
    assert_eq!(cluster.take_log(), ["delete other-ebb"]);
    assert!(cluster.desk.is_empty());
}

#[test]
fn a_host_that_moves_is_written_where_it_goes_before_it_is_removed_where_it_was() {
    let mut cluster = Cluster::written();
    let mut moved = wanted(&[("hello", 16), ("zero", 1)]);
    moved.services.get_mut(&key("zero")).unwrap().hosts = vec!["h16.example.com".parse().unwrap()];
    cluster.want(moved);
    assert_eq!(cluster.take_log(), ["make zero-ebb", "delete hello-ebb-2"]);
}

#[test]
fn another_gateway_and_another_service_of_the_same_name_are_written() {
    let mut cluster = Cluster::written();
    let mut other = wanted(&[("hello", 17)]);
    other.parent = Some("infra/other".parse().unwrap());
    cluster.want(other.clone());
    assert_eq!(cluster.take_log(), ["change hello-ebb", "change hello-ebb-2"]);
    other.services.get_mut(&key("hello")).unwrap().uid = "2".to_owned();
    cluster.want(other);
    assert_eq!(cluster.take_log().len(), 2);
    assert_eq!(cluster.objects[&named("hello-ebb")]["metadata"]["ownerReferences"][0]["uid"], "2");
}

#[test]
fn what_others_change_or_delete_is_as_it_was_and_late_word_is_not_heeded() {
    let mut cluster = Cluster::written();
    let before = Seen::of(&metadata(&cluster.objects[&named("hello-ebb")]));
    let object = cluster.objects.get_mut(&named("hello-ebb")).unwrap();
    object["metadata"]["generation"] = json!(2);
    object["spec"]["hostnames"] = json!(["theirs.example.com"]);
    cluster.tell("hello-ebb");
    assert_eq!(cluster.take_log(), ["change hello-ebb"]);
    assert_eq!(cluster.objects[&named("hello-ebb")]["spec"]["hostnames"][0], "h0.example.com");
    assert_eq!(cluster.desk.saw(&named("hello-ebb"), before), [].into(), "so it was before");

    let uid = metadata(&cluster.objects.remove(&named("hello-ebb")).unwrap()).uid.unwrap();
    let news = cluster.desk.gone(&named("hello-ebb"), &uid);
    cluster.settle(&news);
    assert_eq!(cluster.take_log(), ["make hello-ebb"]);
    assert_eq!(cluster.desk.gone(&named("hello-ebb"), &uid), [].into(), "another one has its name by now");
    assert_eq!(cluster.desk.written_at(&key("hello")), Some(Tick::from_secs(1)));
}

#[test]
fn a_new_leader_writes_what_is_there_once_more_and_deletes_what_is_left() {
    let mut cluster = Cluster::written();
    cluster.desk = Desk::default();
    let names: Vec<Name> = cluster.objects.keys().cloned().collect();
    for (_, name) in &names {
        cluster.tell(name);
    }
    cluster.want(wanted(&[("hello", 16)]));
    assert_eq!(cluster.take_log(), [""; 0], "not all of ours are known");
    let news = cluster.desk.listed(&names.into_iter().collect());
    cluster.settle(&news);
    assert_eq!(cluster.take_log(), ["change hello-ebb", "delete hello-ebb-2"]);
    // The watch restarted, and one HTTPRoute was deleted meanwhile.
    cluster.objects.clear();
    let news = cluster.desk.listed(&[].into());
    cluster.settle(&news);
    assert_eq!(cluster.take_log(), ["make hello-ebb"]);
    cluster.desk.forget();
    assert_eq!(cluster.desk.step(&key("hello")), None, "the kind is gone");
}

#[test]
fn services_whose_names_begin_alike_have_their_own() {
    let mut cluster = Cluster::default();
    cluster.desk.listed(&[].into());
    cluster.want(wanted(&[("a", 17), ("a-ebb", 1), ("a-ebb-2", 1)]));
    assert_eq!(cluster.objects.len(), 4);
    cluster.take_log();
    cluster.want(wanted(&[("a-ebb", 1), ("a-ebb-2", 1)]));
    assert_eq!(cluster.take_log(), ["delete a-ebb", "delete a-ebb-2"]);
}

#[test]
fn an_http_route_without_our_label_our_owner_or_our_name_is_not_ours() {
    let good = json!({
        "name": "hello-ebb", "namespace": "shop", "uid": "u", "generation": 3,
        "labels": {"app.kubernetes.io/managed-by": "ebb"},
        "ownerReferences": [{"apiVersion": "v1", "kind": "Service", "name": "hello", "uid": "1"}],
    });
    let of = |metadata: &Value| Seen::of(&serde_json::from_value(metadata.clone()).unwrap());
    assert_eq!(of(&good), Some(Seen { owner: key("hello"), uid: "u".to_owned(), generation: 3 }));
    for (pointer, value) in [
        ("/labels", json!({})),
        ("/labels", json!({"app.kubernetes.io/managed-by": "Helm"})),
        ("/ownerReferences", json!([])),
        ("/ownerReferences/0/kind", json!("ConfigMap")),
        ("/ownerReferences/0/name", json!("other")),
        ("/name", json!("hello")),
    ] {
        let mut other = good.clone();
        *other.pointer_mut(pointer).unwrap() = value;
        assert_eq!(of(&other), None, "{other}");
    }
    // Whoever removes Ebb's label takes the HTTPRoute over.
    let mut cluster = Cluster::written();
    assert_eq!(cluster.desk.saw(&named("hello-ebb"), None), [key("hello")].into());
    assert!(matches!(cluster.desk.step(&key("hello")), Some(Step::Apply { there: None, .. })));
}
