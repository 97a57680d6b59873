use proptest::prelude::*;
use rand::{SeedableRng, rngs::StdRng};

use super::*;

const NOW: Tick = Tick::from_secs(100);

fn throttler(per_pod: u32, queue_depth: usize) -> Throttler<u32> {
    Throttler::new(limits(per_pod, queue_depth))
}

fn limits(per_pod: u32, queue_depth: usize) -> Limits {
    let per_pod = NonZeroU32::new(per_pod);
    Limits { per_pod, queue_depth, reference_placement: false }
}

/// An address by which pods are in the order of their ids.
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
    fn no_request_is_lost_or_doubled_and_no_limit_exceeded(
        per_pod in 1_u32..4,
        ops in prop::collection::vec((0_u8..7, 0_u64..3), 0..120),
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
        }
    }
}
