use proptest::prelude::*;
use rand::{SeedableRng, rngs::StdRng};

use super::*;

const NOW: Tick = Tick::from_secs(100);

fn throttler(per_pod: u32, queue_depth: usize) -> Throttler<u32> {
    Throttler::new(limits(per_pod, queue_depth))
}

fn limits(per_pod: u32, queue_depth: usize) -> Limits {
    let per_pod = NonZeroU32::new(per_pod);
    Limits { per_pod, queue_depth, share: Share::ALONE, reference_placement: false }
}

/// Returns an address that sorts like the id.
fn address(id: u64) -> String {
    format!("10.0.0.{id:03}:8012")
}

fn with_ready_pods(mut throttler: Throttler<u32>, pods: u64) -> Throttler<u32> {
    for id in 0..pods {
        throttler.add_pod(PodId(id), &address(id));
        throttler.pod_ready(PodId(id), NOW);
    }
    throttler
}

fn rng() -> StdRng {
    StdRng::seed_from_u64(7)
}

fn woken(throttler: &mut Throttler<u32>, now: Tick) -> Vec<u32> {
    throttler.grants(now, &mut rng()).into_iter().map(|grant| grant.waiter).collect()
}

#[test]
fn the_queue_is_bounded_and_gives_back_what_it_refuses() {
    let mut throttler = throttler(1, 2);
    assert!(throttler.hold(1).is_ok());
    assert!(throttler.hold(2).is_ok());
    assert_eq!(throttler.hold(3), Err(3));
}

#[test]
fn a_pod_that_is_not_ready_gets_nothing() {
    let mut throttler = throttler(1, 9);
    throttler.add_pod(PodId(0), &address(0));
    assert_eq!(throttler.try_dispatch(NOW, &mut rng()), None);
    assert!(throttler.hold(1).is_ok());
    assert_eq!(woken(&mut throttler, NOW), [0; 0]);
    throttler.pod_ready(PodId(0), NOW);
    assert_eq!(woken(&mut throttler, NOW), [1]);
}

#[test]
fn a_declared_limit_is_never_exceeded_and_each_end_lets_the_oldest_in() {
    let mut throttler = throttler(2, 9);
    throttler.add_pod(PodId(0), &address(0));
    for waiter in 0..5 {
        throttler.hold(waiter).unwrap();
    }
    throttler.pod_ready(PodId(0), NOW);
    assert_eq!(woken(&mut throttler, NOW), [0, 1]);
    assert_eq!(throttler.next_wake(NOW), None, "time alone lets nobody in");
    throttler.release(PodId(0), Outcome::Ended);
    assert_eq!(woken(&mut throttler, NOW), [2]);
}

#[test]
fn newcomers_do_not_overtake_the_queue() {
    let mut throttler = with_ready_pods(throttler(1, 9), 1);
    assert_eq!(throttler.try_dispatch(NOW, &mut rng()), Some(PodId(0)));
    throttler.hold(1).unwrap();
    throttler.release(PodId(0), Outcome::Ended);
    assert_eq!(throttler.try_dispatch(NOW, &mut rng()), None, "the free place is the waiter's");
    assert_eq!(woken(&mut throttler, NOW), [1]);
}

#[test]
fn what_comes_back_returns_to_its_place_and_its_pod_is_set_aside() {
    let mut throttler = with_ready_pods(throttler(1, 3), 1);
    for waiter in 0..3 {
        throttler.hold(waiter).unwrap();
    }
    let grant = throttler.grants(NOW, &mut rng()).remove(0);
    throttler.hold(3).unwrap();
    throttler.release(grant.pod, Outcome::PodFailed);
    throttler.hold_again(grant.ticket, grant.waiter);
    assert_eq!(throttler.held(), 4, "it was admitted once: the bound does not refuse it");
    assert_eq!(woken(&mut throttler, NOW), [0; 0], "the pod gets nothing until it is found ready");
    throttler.pod_ready(PodId(0), NOW);
    assert_eq!(woken(&mut throttler, NOW), [0]);
}

#[test]
fn of_many_failures_the_first_alone_sets_a_pod_aside() {
    let mut throttler = with_ready_pods(throttler(3, 9), 1);
    for _ in 0..3 {
        assert!(throttler.try_dispatch(NOW, &mut rng()).is_some());
    }
    assert!(!throttler.release(PodId(0), Outcome::Ended));
    assert!(throttler.release(PodId(0), Outcome::PodFailed));
    assert!(!throttler.release(PodId(0), Outcome::PodFailed), "it is being asked already");
    assert!(!throttler.release(PodId(7), Outcome::PodFailed), "nobody knows it");
}

#[test]
fn a_cancelled_request_leaves_at_once() {
    let mut throttler = throttler(1, 2);
    let first = throttler.hold(1).unwrap();
    throttler.hold(2).unwrap();
    assert_eq!(throttler.cancel(first), Some(1));
    assert_eq!(throttler.cancel(first), None);
    assert!(throttler.hold(3).is_ok(), "its place is free");
}

#[test]
fn without_a_limit_a_newborn_pod_gets_a_growing_share() {
    let mut throttler = with_ready_pods(throttler(0, 1_000), 1);
    for waiter in 0..100 {
        throttler.hold(waiter).unwrap();
    }
    assert_eq!(woken(&mut throttler, NOW).len(), 10);
    throttler.release(PodId(0), Outcome::Ended);
    assert_eq!(woken(&mut throttler, NOW).len(), 2, "one for the place, one for the growth");
    let wake = throttler.next_wake(NOW).unwrap();
    assert_eq!(wake, Duration::from_millis(100));
    assert_eq!(woken(&mut throttler, NOW.after(wake)).len(), 11, "22 are allowed, 11 were there");
}

#[test]
fn a_pod_that_drains_keeps_what_it_has_and_gets_no_more() {
    let mut throttler = with_ready_pods(throttler(5, 9), 1);
    assert!(throttler.try_dispatch(NOW, &mut rng()).is_some());
    throttler.remove_pod(PodId(0));
    assert_eq!(throttler.try_dispatch(NOW, &mut rng()), None);
    throttler.release(PodId(0), Outcome::Ended);
    assert_eq!(throttler.ready_pods(), 0);
}

#[test]
fn load_spreads_over_all_pods() {
    let mut throttler = with_ready_pods(throttler(100, 9), 10);
    let mut rng = rng();
    for _ in 0..500 {
        assert!(throttler.try_dispatch(NOW, &mut rng).is_some());
    }
    let busiest = throttler.pods.iter().map(|pod| pod.in_flight).max();
    let idlest = throttler.pods.iter().map(|pod| pod.in_flight).min();
    assert!(busiest <= Some(60) && idlest >= Some(40), "{idlest:?} to {busiest:?} of 50 each");
}

/// Returns what each activator has at each pod if every activator holds more than fits.
fn filled(pods: u64, activators: u32, limits: Limits) -> Vec<Vec<u32>> {
    let fill = |index| {
        let mut throttler = with_ready_pods(throttler(0, 0), pods);
        throttler.set_limits(Limits { share: Share::new(activators, index), queue_depth: 10_000, ..limits });
        (0..5_000).for_each(|waiter| assert!(throttler.hold(waiter).is_ok()));
        throttler.grants(NOW, &mut rng());
        throttler.pods.iter().map(|pod| pod.in_flight).collect()
    };
    (0..activators).map(fill).collect()
}

#[test]
fn with_other_activators_a_declared_limit_is_kept_together() {
    assert_eq!(filled(5, 2, limits(3, 0)), [[3, 3, 0, 0, 3], [0, 0, 3, 3, 0]]);
    assert_eq!(filled(2, 3, limits(4, 0)), [[2, 0], [0, 4], [2, 0]]);
}

#[test]
fn the_reference_gives_each_activator_the_whole_limit_of_a_pod_that_they_share() {
    let limits = Limits { reference_placement: true, ..limits(4, 0) };
    assert_eq!(filled(5, 2, limits), [[4, 4, 0, 0, 4], [0, 0, 4, 4, 0]]);
    assert_eq!(filled(2, 3, limits), [[4, 0], [0, 4], [4, 0]]);
}

#[test]
fn without_a_limit_every_activator_uses_every_pod() {
    assert_eq!(filled(3, 2, limits(0, 0)), [[10, 10, 10]; 2]);
}

#[test]
fn an_activator_whose_part_was_not_ready_uses_what_is() {
    let mut throttler = throttler(1, 9);
    // Of five pods, the last activator's would be the fifth; but it is the second that becomes ready.
    throttler.set_limits(Limits { share: Share::new(5, 4), ..throttler.limits });
    (0..5).for_each(|id| throttler.add_pod(PodId(id), &address(id)));
    throttler.hold(1).unwrap();
    assert_eq!(woken(&mut throttler, NOW), [0; 0]);
    throttler.pod_ready(PodId(1), NOW);
    let grant = throttler.grants(NOW, &mut rng()).remove(0);
    assert_eq!((grant.waiter, grant.pod), (1, PodId(1)));
}

#[test]
fn a_part_that_changes_moves_nothing_and_lets_those_that_wait_go_on() {
    let mut throttler = with_ready_pods(throttler(1, 9), 4);
    let all = throttler.limits;
    throttler.set_limits(Limits { share: Share::new(2, 0), ..all });
    for waiter in 0..6 {
        throttler.hold(waiter).unwrap();
    }
    assert_eq!(woken(&mut throttler, NOW), [0, 1], "pods 0 and 1");
    throttler.set_limits(Limits { share: Share::new(2, 1), ..all });
    assert_eq!(woken(&mut throttler, NOW), [2, 3], "pods 2 and 3, whatever the others have");
    throttler.release(PodId(0), Outcome::Ended);
    assert_eq!(woken(&mut throttler, NOW), [0; 0], "pod 0 is another's now");
    throttler.set_limits(all);
    assert_eq!(woken(&mut throttler, NOW), [4], "the other is gone: pod 0 has room, pod 1 not yet");
}

#[test]
fn a_pod_that_fails_leaves_its_activator_others() {
    let mut throttler = with_ready_pods(throttler(1, 9), 2);
    throttler.set_limits(Limits { share: Share::new(2, 1), ..throttler.limits });
    assert_eq!(throttler.try_dispatch(NOW, &mut rng()), Some(PodId(1)));
    throttler.hold(1).unwrap();
    throttler.release(PodId(1), Outcome::PodFailed);
    assert_eq!(throttler.grants(NOW, &mut rng()).remove(0).pod, PodId(0));
}

#[test]
fn the_references_placement_goes_by_address_and_limit() {
    let order = |limit| {
        let mut throttler = throttler(limit, 9);
        throttler.set_limits(Limits { reference_placement: true, ..throttler.limits });
        for id in [2, 0, 1] {
            throttler.add_pod(PodId(id), &address(id));
            throttler.pod_ready(PodId(id), NOW);
        }
        let pods = (0..6).map_while(|_| throttler.try_dispatch(NOW, &mut rng()).map(|pod| pod.0));
        pods.collect::<Vec<u64>>()
    };
    assert_eq!(order(2), [0, 0, 1, 1, 2, 2]);
    assert_eq!(order(4), [0, 1, 2, 0, 1, 2]);
}

proptest! {
    #[test]
    fn together_activators_fill_every_pod_and_none_beyond_its_limit_but_for_one_each(
        pods in 1_u64..20,
        activators in 1_u32..20,
        per_pod in 1_u32..10,
        reference_placement: bool,
    ) {
        let limits = Limits { reference_placement, ..limits(per_pod, 0) };
        let filled = filled(pods, activators, limits);
        for pod in 0..usize::try_from(pods).unwrap() {
            let users = u32::try_from(filled.iter().filter(|has| has[pod] > 0).count()).unwrap();
            let has: u32 = filled.iter().map(|has| has[pod]).sum();
            prop_assert!(users > 0, "nobody uses pod {}", pod);
            prop_assert_eq!(has, if reference_placement { per_pod * users } else { per_pod.max(users) });
        }
    }

    #[test]
    fn no_request_is_lost_or_doubled_and_no_limit_exceeded(
        per_pod in 1_u32..4,
        ops in prop::collection::vec((0_u8..8, 0_u64..3), 0..120),
        reference_placement: bool,
        seed: u64,
    ) {
        let mut rng = StdRng::seed_from_u64(seed);
        let mut throttler = throttler(per_pod, 8);
        throttler.limits.reference_placement = reference_placement;
        let mut running: Vec<(u32, Ticket, PodId)> = Vec::new();
        let mut tickets: Vec<Ticket> = Vec::new();
        let (mut next, mut accepted, mut left) = (0, 0_usize, 0_usize);
        for (op, pod) in ops {
            let pod = PodId(pod);
            match op {
                0 => throttler.add_pod(pod, &address(pod.0)),
                1 => throttler.pod_ready(pod, NOW),
                2 => throttler.remove_pod(pod),
                3 => if let Ok(ticket) = throttler.hold(next) { tickets.push(ticket); accepted += 1; next += 1; },
                4 => if let Some((_, _, pod)) = running.pop() { throttler.release(pod, Outcome::Ended); left += 1; },
                5 => if let Some((waiter, ticket, pod)) = running.pop() {
                    throttler.release(pod, Outcome::PodFailed);
                    throttler.hold_again(ticket, waiter);
                },
                6 => throttler.limits.share = Share::new(3, u32::try_from(pod.0).unwrap()),
                _ => if let Some(ticket) = tickets.pop() {
                    left += usize::from(throttler.cancel(ticket).is_some());
                },
            }
            let mut last = None;
            for grant in throttler.grants(NOW, &mut rng) {
                prop_assert!(last < Some(grant.ticket), "oldest first");
                last = Some(grant.ticket);
                running.push((grant.waiter, grant.ticket, grant.pod));
            }
            prop_assert_eq!(throttler.held() + running.len() + left, accepted);
            for pod in &throttler.pods {
                prop_assert!(pod.in_flight <= per_pod);
            }
            if throttler.held() > 0 && throttler.ready_pods() > 0 {
                let part = throttler.limits.part_of(throttler.ready_pods());
                prop_assert!(part.pods() > 0, "who waits waits for a pod that can come free");
                prop_assert_eq!(throttler.roomy(&part, NOW), []);
            }
        }
    }
}
