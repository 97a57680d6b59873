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

/// Services whose pods have addresses after their names' last digits, and one that has none.
fn known(service: &ServiceKey) -> Option<Endpoints> {
    if service.name == "cold" {
        return Some(Endpoints { path: Path::Proxy, addresses: vec![at(2, 9005)] });
    }
    let host = service.name.strip_prefix('v')?.parse().ok()?;
    Some(pods(host))
}

fn table(targets: &[(&str, u32)]) -> RouteTable {
    let mut table = RouteTable::default();
    assert!(table.set(key(), split(targets), 9000, NOW));
    table.get_mut(&key()).unwrap().state.set_activators(Answering::heard(vec![at(1, 9000), at(2, 9000)]));
    table
}

fn published(table: &mut RouteTable, now: Tick) -> Option<Endpoints> {
    table.evaluate(&key(), now, known).unwrap().publish
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
    let renewed = |table: &mut RouteTable, now| table.evaluate(&key(), now, known).unwrap().renew;
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

    // It comes back before they were asked.
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
    table.forget_published();
    let _ = published(&mut table, NOW);
    table.written(&key(), NOW);
    let renewed = table.evaluate(&key(), NOW.after(KNOWN_AFTER), known).unwrap().renew;
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
    table.forget_published();
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
