//! The condition that says whether what a Service asks for is in effect.

use ebb_core::link::CertificateEntry;
use ebb_decide::platform::Applied;

use super::{hosts::asking, routes::scaled, *};
use crate::{
    condition::{TYPE, removal},
    world::Showing,
};

const GENERATION: &str = "ebb.dev/generation";

impl Cluster {
    /// Creates a cluster with a route that sends everything to v1, without a number.
    fn with_simple_route() -> Self {
        let mut cluster = Self::with_route("v1");
        cluster.world.service(scaled("v1"));
        cluster.asked();
        cluster
    }

    /// Returns what activators were asked about the Service of most tests since the last call; the question is the last
    /// event about it.
    fn asked(&mut self) -> Vec<Option<u64>> {
        let events = self.world.take_events();
        let is_news = |event: &FleetEvent| matches!(event, FleetEvent::Route { .. } | FleetEvent::Hosts(_));
        let first = events.iter().position(|event| matches!(event, FleetEvent::Confirm { .. }));
        assert!(first.is_none_or(|first| !events[first..].iter().any(is_news)), "{events:?}");
        let of = |event: FleetEvent| match event {
            FleetEvent::Confirm { key: of, ask } if of == key() => Some(ask),
            _ => None,
        };
        let asked = events.into_iter().filter_map(of).collect();
        self.world.take_touched();
        asked
    }

    /// Writes the condition, as the API server does. Returns its status, its reason and its number; `removed`; or how
    /// long nothing happens: `rests`, or `waits` and the time.
    fn show(&mut self) -> String {
        let patch = match self.world.condition(&key(), self.now) {
            Showing::Rest => return "rests".to_owned(),
            Showing::Wait(rest) => return format!("waits {rest:?}"),
            Showing::Write(patch) => patch,
        };
        let news = &patch["status"]["conditions"][0];
        let mut all = self.service["status"]["conditions"].as_array().cloned().unwrap_or_default();
        all.retain(|one| one["type"] != news["type"]);
        if patch != removal() {
            all.push(news.clone());
        }
        self.service["status"] = json!({ "conditions": all });
        self.show_service();
        if patch == removal() {
            return "removed".to_owned();
        }
        let text = |name: &str| news[name].as_str().unwrap();
        format!("{} {} {}", text("status"), text("reason"), news["observedGeneration"])
    }

    fn message(&self) -> String {
        let all = self.service["status"]["conditions"].as_array().unwrap();
        let own = all.iter().find(|one| one["type"] == TYPE).unwrap();
        own["message"].as_str().unwrap().to_owned()
    }
}

#[test]
fn who_gives_no_number_gets_no_condition_and_costs_no_question() {
    let mut cluster = Cluster::with_simple_route();
    cluster.annotate("ebb.dev/hosts", json!("a.com"));
    cluster.annotate("ebb.dev/split", json!("v1=1, v2=1"));
    assert_eq!((cluster.asked(), &*cluster.show()), (vec![], "rests"));
}

#[test]
fn it_is_true_once_activators_say_so_and_is_written_once() {
    let mut cluster = Cluster::with_simple_route();
    cluster.service["status"] = json!({"conditions": [{"type": "example.com/Other", "status": "True", "reason": "X",
        "message": "", "lastTransitionTime": "2026-01-01T00:00:00Z"}]});
    cluster.service["metadata"]["annotations"]["ebb.dev/hosts"] = json!("a.com");
    cluster.annotate(GENERATION, json!("7"));
    assert_eq!(cluster.asked(), [Some(1)]);
    assert_eq!(cluster.show(), "waits 1s", "an answer comes before that");
    assert_eq!(cluster.asked(), [], "once is enough");
    cluster.world.confirmed(&key(), 1, Applied::Pending("a".into()));
    assert_eq!(cluster.show(), "waits 1s");
    cluster.world.confirmed(&key(), 1, Applied::Everywhere);
    assert!(cluster.world.take_touched().contains(&key()), "it is looked at, at once");
    assert_eq!(cluster.show(), "True InEffect 7");
    assert_eq!((cluster.asked(), &*cluster.show()), (vec![None], "rests"));
    assert_eq!(cluster.service["status"]["conditions"].as_array().unwrap().len(), 2);

    cluster.annotate(GENERATION, json!("8"));
    assert_eq!(cluster.asked(), [Some(2)]);
    cluster.world.confirmed(&key(), 1, Applied::Everywhere);
    assert_eq!(cluster.show(), "waits 1s", "that was the answer to an earlier question");
    cluster.world.confirmed(&key(), 2, Applied::Everywhere);
    assert_eq!(cluster.show(), "True InEffect 8");
    cluster.annotate(GENERATION, Value::Null);
    assert_eq!((cluster.asked(), &*cluster.show()), (vec![None], "removed"));
    assert_eq!(cluster.show(), "rests");
    assert_eq!(cluster.service["status"]["conditions"].as_array().unwrap().len(), 1, "that of others stays");
}

#[test]
fn a_service_that_is_scaled_has_the_same_and_one_that_is_given_back_has_none() {
    let mut cluster = Cluster::taken();
    cluster.asked();
    cluster.annotate(GENERATION, json!("0"));
    assert_eq!(cluster.asked(), [Some(1)]);
    cluster.world.confirmed(&key(), 1, Applied::Everywhere);
    assert_eq!(cluster.show(), "True InEffect 0");
    cluster.world.set_defaults(Arc::new(ClusterDefaults::default()), true);
    assert_eq!(cluster.show(), "removed");
    assert_eq!((cluster.asked(), &*cluster.show()), (vec![None], "rests"));
}

#[test]
fn a_new_leader_reads_what_is_so_and_asks_only_where_it_is_not() {
    for (generation, asked) in [("7", None), ("8", Some(1))] {
        let mut cluster = Cluster::with_simple_route();
        cluster.annotate(GENERATION, json!("7"));
        cluster.asked();
        cluster.world.confirmed(&key(), 1, Applied::Everywhere);
        assert_eq!(cluster.show(), "True InEffect 7");
        cluster.annotate(GENERATION, json!(generation));

        let mut next = Cluster::with_simple_route();
        next.service = cluster.service.clone();
        next.show_service();
        next.world.lead(next.now);
        assert_eq!(next.asked(), Vec::from_iter(asked.map(Some)));
        let waits = if asked.is_some() { "waits 1s" } else { "rests" };
        assert_eq!(next.show(), waits);
    }
}

#[test]
fn nothing_is_asked_before_everything_is_known() {
    let mut cluster = Cluster::with_simple_route();
    cluster.annotate(GENERATION, json!("7"));
    cluster.world = World::new(Arc::new(ClusterDefaults::default()));
    cluster.show_service();
    cluster.world.service(scaled("v1"));
    let listings =
        [Listing::Services, Listing::Pods, Listing::Slices, Listing::Settings, Listing::Namespaces];
    for listing in listings {
        assert_eq!(cluster.asked(), [], "before {listing:?}");
        cluster.world.listed(&listing);
    }
    assert_eq!(cluster.asked(), []);
    cluster.world.listed(&Listing::Targets("Deployment".to_owned()));
    assert_eq!(cluster.asked(), [Some(1)]);
}

#[test]
fn it_is_unknown_only_if_it_stays_so_for_a_second() {
    let mut cluster = Cluster::with_simple_route();
    cluster.annotate(GENERATION, json!("7"));
    cluster.asked();
    for (applied, reason) in [
        (Applied::Nowhere, "NoActivator"),
        (Applied::Untold("a".into()), "OlderActivator"),
        (Applied::Pending("b".into()), "Pending"),
    ] {
        cluster.world.confirmed(&key(), 1, applied);
        assert_eq!(cluster.show(), "waits 1s");
        cluster.now = cluster.now.after(Duration::from_secs(1));
        assert_eq!(cluster.show(), format!("Unknown {reason} 7"));
        assert_eq!(cluster.show(), "rests");
    }
    assert_eq!(cluster.message(), "activator b has not applied it yet");
    cluster.world.confirmed(&key(), 1, Applied::Everywhere);
    assert_eq!(cluster.show(), "True InEffect 7");
}

#[test]
fn what_is_refused_is_false_at_once_in_the_words_of_the_status() {
    let mut cluster = Cluster::with_simple_route();
    cluster.service["metadata"]["annotations"]["ebb.dev/split-by"] = json!("moon");
    cluster.annotate(GENERATION, json!("7"));
    assert_eq!((cluster.asked(), &*cluster.show()), (vec![], "False Refused 7"));
    cluster.world.want(&key(), to_activators());
    cluster.until_at_rest(Cluster::write_step);
    assert_eq!(Some(&*cluster.message()), cluster.annotation("ebb.dev/status"));
    cluster.annotate("ebb.dev/split-by", Value::Null);
    assert_eq!(cluster.asked(), [Some(1)]);
}

#[test]
fn a_host_of_somebody_else_makes_it_false_and_one_that_is_free_again_is_asked_about_again() {
    let mut cluster = Cluster::with_simple_route();
    cluster.service["metadata"]["creationTimestamp"] = json!("2026-01-01T00:00:09Z");
    cluster.service["metadata"]["annotations"]["ebb.dev/hosts"] = json!("a.com");
    cluster.annotate(GENERATION, json!("7"));
    assert_eq!(cluster.asked(), [Some(1)]);
    cluster.world.service(asking("bank", "old", 1, "a.com"));
    assert_eq!(cluster.asked(), [None]);
    cluster.world.confirmed(&key(), 1, Applied::Everywhere);
    assert_eq!(cluster.show(), "False HostTaken 7", "that was so before");
    assert!(cluster.message().starts_with("host a.com belongs to Service bank/old"));
    cluster.world.service_gone(&ServiceKey::new("bank", "old"));
    assert_eq!(cluster.asked(), [Some(2)]);
    cluster.world.confirmed(&key(), 2, Applied::Everywhere);
    assert_eq!(cluster.show(), "True InEffect 7");
    assert_eq!(cluster.asked(), [None]);
    cluster.world.namespace("shop", "9", Some("*.org"));
    assert_eq!((cluster.asked(), &*cluster.show()), (vec![], "False HostNotAllowed 7"));
}

#[test]
fn a_service_of_the_split_may_come_later_and_is_missed_after_a_while() {
    let mut cluster = Cluster::with_simple_route();
    cluster.service["metadata"]["annotations"]["ebb.dev/split"] = json!("v1=1, v2=1");
    cluster.annotate(GENERATION, json!("7"));
    assert_eq!(cluster.asked(), []);
    assert_eq!(cluster.show(), "waits 1s");
    cluster.now = cluster.now.after(Duration::from_secs(1));
    assert_eq!(cluster.show(), "Unknown Pending 7");
    assert_eq!(cluster.message(), "v2 gets 1 of 2: there is no Service v2");
    cluster.world.want(&key(), to_activators());
    cluster.until_at_rest(Cluster::write_step);
    assert_eq!(cluster.show(), "False SplitTarget 7");

    let mut next = Cluster::with_simple_route();
    next.service = cluster.service.clone();
    next.show_service();
    assert_eq!(
        (next.asked(), &*next.show()),
        (vec![], "rests"),
        "a new leader has not missed it for long enough"
    );

    cluster.world.service(scaled("v2"));
    assert_eq!(cluster.asked(), [Some(1)]);
    cluster.world.confirmed(&key(), 1, Applied::Everywhere);
    assert_eq!(cluster.show(), "True InEffect 7");
}

#[test]
fn hosts_are_in_effect_with_their_certificate() {
    let mut cluster = Cluster::with_simple_route();
    let annotations = &mut cluster.service["metadata"]["annotations"];
    annotations["ebb.dev/hosts"] = json!("a.com");
    annotations["ebb.dev/tls-secret"] = json!("a-tls");
    cluster.annotate(GENERATION, json!("7"));
    assert_eq!((cluster.asked(), &*cluster.show()), (vec![], "waits 1s"));
    let secret = ServiceKey::new("shop", "a-tls");
    cluster.world.certificate(&secret, Err("Secret a-tls does not exist".into()));
    assert_eq!((cluster.asked(), &*cluster.show()), (vec![], "False NoCertificate 7"));
    let (namespace, name) = ("shop".into(), "a-tls".into());
    let certificate = CertificateEntry { namespace, name, chain: "x".into(), ..CertificateEntry::default() };
    cluster.world.certificate(&secret, Ok(certificate));
    assert_eq!(cluster.asked(), [Some(1)]);
}
