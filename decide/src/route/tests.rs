use std::net::SocketAddr;

use super::*;

const NOW: Tick = Tick::from_secs(1_000);

fn at(host: u8, port: u16) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, host], port))
}

fn split(targets: &[(&str, u32)]) -> Arc<Split> {
    let target = |(service, weight): &(&str, u32)| Target {
        service: (*service).to_owned(),
        weight: *weight,
        trouble: String::new(),
    };
    Arc::new(Split {
        targets: targets.iter().map(target).collect(),
        by: SplitBy::Request,
        max_connection_age: None,
        tunnel_idle_timeout: None,
        pace: Pace::default(),
    })
}

fn key() -> ServiceKey {
    ServiceKey::new("shop", "hello")
}

fn pods(host: u8) -> Endpoints {
    Endpoints { path: Path::Serve, addresses: vec![at(host, 8012)] }
}

fn of_activators() -> Endpoints {
    Endpoints { path: Path::Proxy, addresses: vec![at(1, 9000), at(2, 9000)] }
}

/// Returns endpoints of services, whose pods have addresses by the last digits of their names; one has none.
fn known(service: &ServiceKey) -> Option<Endpoints> {
    if service.name == "cold" {
        return Some(Endpoints { path: Path::Proxy, addresses: vec![at(2, 9005)] });
    }
    let host = service.name.strip_prefix('v')?.parse().ok()?;
    Some(pods(host))
}

fn well(_: &ServiceKey) -> Standing {
    Standing::Well { ready: 1, wanted: 1, rate: 1.0 }
}

fn table(targets: &[(&str, u32)]) -> RouteTable {
    let mut table = RouteTable::default();
    assert!(table.set(key(), split(targets), 9000, NOW));
    table.get_mut(&key()).unwrap().state.set_activators(Answering::heard(vec![at(1, 9000), at(2, 9000)]));
    table
}

fn published(table: &mut RouteTable, now: Tick) -> Option<Endpoints> {
    table.evaluate(&key(), now, known, well).unwrap().publish
}

#[test]
fn who_gets_everything_is_mirrored_and_several_are_chosen_from() {
    for (targets, wanted) in [
        (&[("v3", 1)][..], pods(3)),
        (&[("v3", 100), ("v4", 0)], pods(3)),
        (&[("v3", 90), ("v4", 10)], of_activators()),
        (&[("cold", 1)], Endpoints { path: Path::Proxy, addresses: vec![at(2, 9000)] }),
    ] {
        let mut table = table(targets);
        assert_eq!(published(&mut table, NOW), Some(wanted), "{targets:?}");
        assert_eq!(published(&mut table, NOW), None, "it is published");
    }
}

#[test]
fn a_service_in_trouble_has_its_share_refused_by_activators() {
    let mut broken = Split::clone(&split(&[("v3", 1)]));
    broken.targets[0].trouble = "Service v3 does not exist".to_owned();
    let mut table = table(&[("v3", 1)]);
    assert_eq!(published(&mut table, NOW), Some(pods(3)));
    table.set(key(), Arc::new(broken), 9000, NOW);
    assert_eq!(published(&mut table, NOW), Some(of_activators()));
    table.set(key(), split(&[("v3", 1)]), 9000, NOW);
    assert_eq!(published(&mut table, NOW), Some(pods(3)), "nothing else has changed");
}

#[test]
fn a_split_that_has_just_changed_is_left_to_activators() {
    let mut table = table(&[("v3", 1)]);
    assert_eq!(published(&mut table, NOW), Some(pods(3)));
    table.set(key(), split(&[("v4", 1)]), 9000, NOW);
    assert_eq!(published(&mut table, NOW), Some(of_activators()));
    assert_eq!(published(&mut table, NOW.after(SETTLED_AFTER / 2)), None);
    assert_eq!(table.next_due(), Some(NOW.after(SETTLED_AFTER)));
    assert_eq!(published(&mut table, NOW.after(SETTLED_AFTER)), Some(pods(4)));
    assert_eq!(table.next_due(), None);
}

#[test]
fn who_is_connected_to_pods_that_a_route_has_left_is_to_connect_anew() {
    let v3 = || vec![ServiceKey::new("shop", "v3")];
    let mut table = table(&[("v3", 1)]);
    let renewed = |table: &mut RouteTable, now| table.evaluate(&key(), now, known, well).unwrap().renew;
    assert_eq!(renewed(&mut table, NOW), []);
    table.set(key(), split(&[("v3", 9), ("v4", 1)]), 9000, NOW);
    assert_eq!(renewed(&mut table, NOW), [], "some would be sent to the same pods again");
    let late = NOW.after(KNOWN_AFTER * 2);
    assert_eq!(renewed(&mut table, late), [], "what is published instead is not written yet");
    let publishing = |table: &mut RouteTable| std::mem::take(&mut table.get_mut(&key()).unwrap().publishing);
    table.get_mut(&key()).unwrap().publishing.want(of_activators());
    table.written(&key(), late);
    assert_eq!(renewed(&mut table, late.after(KNOWN_AFTER)), [], "what was written is out of date");
    let _ = publishing(&mut table);
    table.written(&key(), late);
    assert_eq!(table.next_due(), Some(late.after(KNOWN_AFTER)));
    assert_eq!(renewed(&mut table, late.after(KNOWN_AFTER)), v3());
    assert_eq!(renewed(&mut table, late.after(KNOWN_AFTER * 2)), [], "once");

    // The service is mirrored again before its clients were asked to reconnect.
    table.set(key(), split(&[("v4", 1)]), 9000, NOW);
    let settled = NOW.after(SETTLED_AFTER);
    assert_eq!(renewed(&mut table, settled), []);
    table.set(key(), split(&[("v3", 1)]), 9000, settled);
    assert_eq!(renewed(&mut table, settled), []);
    table.set(key(), split(&[("v4", 1)]), 9000, settled);
    table.written(&key(), settled);
    let _ = renewed(&mut table, settled.after(KNOWN_AFTER));
    assert_eq!(renewed(&mut table, settled.after(SETTLED_AFTER)), []);
}

#[test]
fn who_takes_over_has_clients_asked_that_its_predecessor_may_not_have_asked() {
    let mut table = table(&[("v3", 1), ("v4", 0)]);
    table.forget_published(NOW);
    let _ = published(&mut table, NOW);
    table.written(&key(), NOW);
    let renewed = table.evaluate(&key(), NOW.after(KNOWN_AFTER), known, well).unwrap().renew;
    assert_eq!(renewed, [ServiceKey::new("shop", "v4")], "who is mirrored keeps its clients");
}

#[test]
fn a_change_that_divides_nothing_otherwise_leaves_clients_where_they_are() {
    for (before, after) in [
        (&[("v3", 1)][..], &[("v3", 100), ("v4", 0)][..]),
        (&[("v3", 1)], &[("v3", 7)]),
        (&[("v3", 2), ("v4", 0)], &[("v4", 0), ("v3", 2)]),
    ] {
        let mut table = table(before);
        assert_eq!(published(&mut table, NOW), Some(pods(3)));
        table.set(key(), split(after), 9000, NOW);
        assert_eq!(published(&mut table, NOW), None, "{before:?} to {after:?}");
    }
}

#[test]
fn a_new_route_waits_for_activators_that_answer_on_its_own_port() {
    let mut table = table(&[("cold", 1)]);
    table.get_mut(&key()).unwrap().state.set_activators(Answering::default());
    assert_eq!(published(&mut table, NOW), None);
    table.get_mut(&key()).unwrap().state.set_activators(Answering::heard(vec![at(2, 9000)]));
    assert_eq!(published(&mut table, NOW).unwrap().addresses, [at(2, 9000)]);
}

#[test]
fn without_an_activator_or_a_decision_everything_stays() {
    let mut table = table(&[("v3", 1), ("v4", 1)]);
    assert_eq!(published(&mut table, NOW), Some(of_activators()));
    table.get_mut(&key()).unwrap().state.set_activators(Answering::default());
    assert_eq!(published(&mut table, NOW), None);
    table.set(key(), split(&[("unknown", 1)]), 9000, NOW);
    assert_eq!(
        published(&mut table, NOW.after(SETTLED_AFTER)),
        None,
        "nobody decided where its traffic goes"
    );
}

#[test]
fn what_was_not_written_is_published_again() {
    let mut table = table(&[("v3", 1)]);
    assert_eq!(published(&mut table, NOW), Some(pods(3)));
    table.publish_failed(&key(), NOW);
    assert!(table.next_due().is_some_and(|due| due > NOW));
    assert_eq!(published(&mut table, NOW), Some(pods(3)));
    table.forget_published(NOW);
    assert_eq!(published(&mut table, NOW), Some(pods(3)), "another one leads");
}

#[test]
fn the_routes_of_a_service_are_known_as_long_as_they_name_it() {
    let mut table = table(&[("v3", 1), ("v4", 0)]);
    let (v3, v4, v5) =
        (ServiceKey::new("shop", "v3"), ServiceKey::new("shop", "v4"), ServiceKey::new("shop", "v5"));
    assert_eq!(table.of_target(&v4), [Arc::new(key())]);
    let _ = published(&mut table, NOW);
    assert!(!table.is_chosen(&v3), "it is mirrored");
    assert!(!table.set(key(), split(&[("v3", 1), ("v5", 1)]), 9000, NOW));
    let _ = published(&mut table, NOW);
    assert!(table.is_chosen(&v3) && table.is_chosen(&v5) && !table.is_chosen(&v4));
    assert!(table.of_target(&v4).is_empty());
    assert!(table.remove(&key()) && !table.remove(&key()));
    assert!(table.of_target(&v3).is_empty() && table.get(&key()).is_none());
}

/// Returns a split with a rollout of `seconds`, and its progress as written down.
fn paced(targets: &[(&str, u32)], seconds: u64, kept: Option<&str>) -> Arc<Split> {
    let over = (seconds > 0).then(|| Duration::from_secs(seconds));
    let kept = kept.map(|text| Progress::read(text).unwrap());
    Arc::new(Split { pace: Pace { over, paused: false, kept }, ..Split::clone(&split(targets)) })
}

fn shares(table: &RouteTable) -> Vec<(String, u32)> {
    let route = table.get(&key()).unwrap();
    let targets = &route.state.split().targets;
    let sum: u32 = targets.iter().map(|target| target.weight).sum();
    targets.iter().map(|target| (target.service.clone(), target.weight / (sum / 1000).max(1))).collect()
}

fn thousandths(of: &[(&str, u32)]) -> Vec<(String, u32)> {
    of.iter().map(|(service, part)| ((*service).to_owned(), *part)).collect()
}

fn evaluated(table: &mut RouteTable, now: Tick) -> RouteActions {
    table.evaluate(&key(), now, known, well).unwrap()
}

#[test]
fn a_changed_split_is_approached_by_activators_and_reached_directly_when_it_has_settled() {
    let mut table = RouteTable::default();
    table.set(key(), paced(&[("v3", 1)], 4, None), 9000, NOW);
    table.get_mut(&key()).unwrap().state.set_activators(Answering::heard(vec![at(1, 9000), at(2, 9000)]));
    let first = evaluated(&mut table, NOW);
    assert_eq!((first.publish, first.divided), (Some(pods(3)), false), "the first holds at once");
    assert_eq!(first.keep, Some(Keep(Progress::read(r#"{"to":"v3=1"}"#))));
    assert_eq!(evaluated(&mut table, NOW).keep, None, "it is written down once");

    table.set(key(), paced(&[("v4", 1)], 4, None), 9000, NOW);
    assert_eq!(
        shares(&table),
        thousandths(&[("v3", 1000), ("v4", 0)]),
        "nobody is told of more than there is"
    );
    let begun = evaluated(&mut table, NOW);
    assert_eq!((begun.publish, begun.divided), (Some(of_activators()), true));
    assert_eq!(shares(&table), thousandths(&[("v3", 990), ("v4", 10)]));
    assert!(table.is_chosen(&ServiceKey::new("shop", "v4")));
    let kept = r#"{"before":"v3=1","done":10,"from":"v3=1","to":"v4=1"}"#;
    assert_eq!(begun.keep, Some(Keep(Progress::read(kept))));
    let mut writes = 0;
    for second in 1..4 {
        let now = NOW.after(Duration::from_secs(second));
        assert_eq!(table.next_due(), Some(now));
        let actions = evaluated(&mut table, now);
        assert!(actions.divided && actions.publish.is_none());
        writes += usize::from(actions.keep.is_some());
    }
    assert_eq!(writes, 1, "one in three seconds");
    let end = NOW.after(Duration::from_secs(4));
    let ended = evaluated(&mut table, end);
    assert_eq!((ended.divided, shares(&table)), (true, thousandths(&[("v4", 1)])));
    assert_eq!(ended.keep, Some(Keep(Progress::read(r#"{"to":"v4=1"}"#))), "at once");
    assert!(table.of_target(&ServiceKey::new("shop", "v3")).is_empty());
    let settled = end.after(SETTLED_AFTER);
    assert_eq!(table.next_due(), Some(settled));
    assert_eq!(published(&mut table, settled), Some(pods(4)));
}

#[test]
fn who_takes_over_goes_on_where_the_last_one_was() {
    let kept = r#"{"before":"v3=1","done":500,"from":"v3=1","to":"v4=1"}"#;
    for new in [true, false] {
        let mut table = RouteTable::default();
        if !new {
            table.set(key(), paced(&[("v3", 1)], 100, Some(r#"{"to":"v3=1"}"#)), 9000, NOW);
        }
        table.set(key(), paced(&[("v4", 1)], 100, Some(kept)), 9000, NOW);
        table.forget_published(NOW);
        assert_eq!(shares(&table), thousandths(&[("v3", 500), ("v4", 500)]));
        let actions = evaluated(&mut table, NOW);
        assert_eq!((actions.keep, actions.divided), (None, false), "it stands there");
    }
    // The split changed while no autoscaler ran.
    let mut table = RouteTable::default();
    table.set(key(), paced(&[("v5", 1)], 100, Some(kept)), 9000, NOW);
    assert_eq!(shares(&table), thousandths(&[("v3", 500), ("v4", 500), ("v5", 0)]));
    let mut table = RouteTable::default();
    table.set(key(), paced(&[("v3", 1)], 100, Some(kept)), 9000, NOW);
    assert_eq!(shares(&table), thousandths(&[("v3", 1)]), "it was undone");
    let mut table = RouteTable::default();
    table.set(key(), paced(&[("v4", 1)], 0, Some(kept)), 9000, NOW);
    assert_eq!(shares(&table), thousandths(&[("v4", 1)]));
    assert_eq!(evaluated(&mut table, NOW).keep, Some(Keep(None)), "nothing is to be kept");
    let mut table = RouteTable::default();
    table.set(key(), paced(&[("v4", 1)], 100, Some(r#"{"to":"v3=1"}"#)), 9000, NOW);
    assert_eq!(shares(&table), thousandths(&[("v3", 1000), ("v4", 0)]));
}

#[test]
fn what_could_not_be_written_down_is_to_be_again() {
    let mut table = RouteTable::default();
    table.set(key(), paced(&[("v3", 1)], 100, None), 9000, NOW);
    assert!(evaluated(&mut table, NOW).keep.is_some());
    table.keep_failed(&key(), NOW);
    assert!(table.next_due().is_some_and(|due| due > NOW));
    assert!(evaluated(&mut table, NOW).keep.is_some());
}

#[test]
fn a_service_that_cannot_be_served_gets_no_more() {
    let mut broken = Split::clone(&paced(&[("v3", 1), ("v4", 1)], 100, None));
    broken.targets[1].trouble = "there is no Service v4".to_owned();
    let mut table = RouteTable::default();
    table.set(key(), paced(&[("v3", 1)], 100, None), 9000, NOW);
    table.set(key(), Arc::new(broken), 9000, NOW);
    let actions = evaluated(&mut table, NOW);
    assert_eq!(shares(&table), thousandths(&[("v3", 1000), ("v4", 0)]));
    let Some(Keep(Some(Progress { under_way: Some(way), .. }))) = actions.keep else { panic!("{actions:?}") };
    assert_eq!(way.stopped, "v4: there is no Service v4");
    table.set(key(), paced(&[("v3", 1), ("v4", 1)], 100, None), 9000, NOW);
    let _ = evaluated(&mut table, NOW);
    assert_eq!(shares(&table), thousandths(&[("v3", 995), ("v4", 5)]));
}
