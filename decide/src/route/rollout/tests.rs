use ebb_annotations::read_split;
use proptest::prelude::*;

use super::*;

const NOW: Tick = Tick::from_secs(1_000);

fn split(text: &str) -> Vec<Share> {
    read_split(text).unwrap()
}

fn over(seconds: u64) -> Pace {
    Pace { over: Some(Duration::from_secs(seconds)), ..Pace::default() }
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// Steps are not all of whole nanoseconds.
fn is_about(duration: Duration, length: u64) -> bool {
    duration.abs_diff(seconds(length)) < Duration::from_micros(1)
}

/// Returns a rollout under way from one split to another.
fn begun(from: &str, to: &str, pace: &Pace) -> Rollout {
    let mut rollout = Rollout::new(Progress { to: split(from), under_way: None }, NOW);
    rollout.head_for(split(to), pace.over, NOW);
    rollout
}

fn done(rollout: &Rollout) -> Option<u16> {
    rollout.progress().under_way.as_ref().map(|way| way.done)
}

/// There are no requests and no pods.
const AT_REST: Standing = Standing::Well { ready: 0, wanted: 0, rate: 0.0 };

fn ready(_: &str) -> Standing {
    AT_REST
}

/// Returns `standing` for v2, and a healthy state for all others.
fn of_v2(standing: Standing) -> impl Fn(&str) -> Standing {
    move |service| if service == "v2" { standing.clone() } else { AT_REST }
}

fn short(service: &str) -> Standing {
    of_v2(Standing::Well { ready: 1, wanted: 2, rate: 1.0 })(service)
}

fn failed(service: &str) -> Standing {
    of_v2(Standing::Failed("pod a: ImagePullBackOff".to_owned()))(service)
}

#[test]
fn the_first_step_is_small_and_the_others_are_even() {
    for (pace, wanted) in [
        (1, &[10, 1000][..]),
        (2, &[10, 505, 1000]),
        (5, &[10, 208, 406, 604, 802, 1000]),
        (7, &[10, 152, 293, 435, 576, 718, 859, 1000]),
    ] {
        let pace = over(pace);
        let mut rollout = begun("v1", "v2", &pace);
        let mut seen = Vec::new();
        for second in 0.. {
            rollout.advance(&pace, NOW.after(seconds(second)), ready);
            seen.push(done(&rollout).unwrap_or(WHOLE));
            if done(&rollout).is_none() {
                break;
            }
        }
        assert_eq!(seen, wanted, "{pace:?}");
    }
}

#[test]
fn a_rollout_takes_the_time_that_it_is_given_in_a_hundred_steps_at_most() {
    for length in [1, 3, 60, 98, 99, 100, 600, 3600, 86_400] {
        let pace = over(length);
        let mut rollout = begun("v1", "v2", &pace);
        rollout.advance(&pace, NOW, ready);
        assert_eq!(done(&rollout), Some(FIRST));
        assert!(is_about(rollout.rest(seconds(length), NOW), length));
        let (mut now, mut count) = (NOW, 1);
        while done(&rollout).is_some() {
            let before = done(&rollout);
            now = now.after(step(seconds(length)));
            rollout.advance(&pace, now, ready);
            assert_ne!(done(&rollout), before);
            count += 1;
        }
        assert!(count <= 100, "{count}");
        assert!(is_about(now.since(NOW), length));
        assert_eq!(rollout.progress().weights(), split("v2"));
        assert_eq!(rollout.again(now), None);
    }
}

#[test]
fn a_step_waits_for_pods_and_is_taken_as_soon_as_they_are_there() {
    let pace = over(10);
    let mut rollout = begun("v1", "v2", &pace);
    rollout.advance(&pace, NOW, ready);
    for second in 1..50 {
        rollout.advance(&pace, NOW.after(seconds(second)), short);
        assert_eq!(done(&rollout), Some(FIRST));
    }
    let why = "v2 has 1 of the 2 pods that it needs for what it gets now";
    assert_eq!(rollout.hold(), Some(&Hold::Waiting(why.to_owned())));
    assert_eq!(rollout.to_json(&pace, NOW)["state"], "waiting");
    let now = NOW.after(seconds(50));
    assert_eq!(rollout.again(now), Some(now.after(LOOK_EVERY)));
    rollout.advance(&pace, now, ready);
    assert_eq!(done(&rollout), Some(109));
    rollout.advance(&pace, now.after(Duration::from_millis(500)), ready);
    assert_eq!(done(&rollout), Some(109), "what was waited for is not made up for");
}

#[test]
fn while_there_are_requests_one_pod_is_the_least() {
    let pace = over(10);
    let at_zero = |rate: f64| {
        move |service: &str| match service {
            "v1" => Standing::Well { ready: 3, wanted: 3, rate },
            _ => AT_REST,
        }
    };
    let mut rollout = begun("v1", "v2", &pace);
    rollout.advance(&pace, NOW, at_zero(5.0));
    assert_eq!(done(&rollout), Some(FIRST), "what it gets first is to wake it");
    rollout.advance(&pace, NOW.after(seconds(1)), at_zero(5.0));
    assert_eq!(
        (done(&rollout), rollout.hold()),
        (Some(FIRST), Some(&Hold::Waiting("v2 has no pod yet".to_owned())))
    );
    rollout.advance(&pace, NOW.after(seconds(2)), at_zero(0.0));
    assert_eq!(done(&rollout), Some(109), "where nobody calls, nobody is flooded");
}

#[test]
fn who_falls_is_not_waited_for() {
    let pace = over(10);
    let mut rollout = begun("v2", "v1", &pace);
    rollout.advance(&pace, NOW, short);
    rollout.advance(&pace, NOW.after(seconds(1)), failed);
    assert_eq!(done(&rollout), Some(109));
}

#[test]
fn a_failure_stops_it_until_it_is_over() {
    let pace = over(10);
    let mut rollout = begun("v1", "v2", &pace);
    rollout.advance(&pace, NOW, ready);
    rollout.advance(&pace, NOW.after(seconds(5)), failed);
    let why = "v2: pod a: ImagePullBackOff".to_owned();
    assert_eq!((done(&rollout), rollout.hold()), (Some(FIRST), Some(&Hold::Stopped(why.clone()))));
    let stopped = |rollout: &Rollout| rollout.progress().under_way.as_ref().unwrap().stopped.clone();
    assert_eq!(stopped(&rollout), why);
    rollout.advance(&pace, NOW.after(seconds(5)), of_v2(Standing::Unknown));
    assert_eq!(stopped(&rollout), why, "nobody knows better");
    rollout.advance(&pace, NOW.after(Duration::from_millis(5_999)), ready);
    assert_eq!((done(&rollout), rollout.hold()), (Some(FIRST), None), "it goes on with a whole step");
    rollout.advance(&pace, NOW.after(seconds(6)), ready);
    assert_eq!(done(&rollout), Some(109));
    assert!(rollout.progress().under_way.as_ref().unwrap().stopped.is_empty());
}

#[test]
fn a_pause_stops_the_clock() {
    let (pace, paused) = (over(10), Pace { paused: true, ..over(10) });
    let mut rollout = begun("v1", "v2", &pace);
    rollout.advance(&paused, NOW, ready);
    assert_eq!((done(&rollout), rollout.hold()), (Some(0), Some(&Hold::Paused)), "it does not even begin");
    rollout.advance(&pace, NOW, ready);
    rollout.advance(&paused, NOW.after(seconds(100)), ready);
    rollout.advance(&pace, NOW.after(seconds(100)), ready);
    assert_eq!(done(&rollout), Some(FIRST));
    rollout.advance(&pace, NOW.after(seconds(101)), ready);
    assert_eq!(done(&rollout), Some(109));
}

#[test]
fn back_leads_at_once_and_elsewhere_from_where_it_is() {
    let pace = over(10);
    let half = || {
        let mut rollout = begun("v1=9, v2=1", "v2", &pace);
        for second in 0..6 {
            rollout.advance(&pace, NOW.after(seconds(second)), ready);
        }
        rollout
    };
    let now = NOW.after(seconds(6));
    let mut rollout = half();
    rollout.head_for(split("v1=90, v2=10"), pace.over, now);
    assert_eq!(done(&rollout), None, "it is undone");
    assert_eq!(rollout.progress().weights(), split("v1=90, v2=10"));

    let mut rollout = half();
    let before = rollout.progress().weights();
    rollout.head_for(split("v3"), pace.over, now);
    assert_eq!(done(&rollout), Some(0));
    assert!(divides_alike(&rollout.progress().weights(), &rounded(&before)));
    rollout.advance(&pace, now, ready);
    assert_eq!(rollout.progress().weights().len(), 3);
    rollout.head_for(split("v1=9, v2=1"), pace.over, now);
    assert_eq!(done(&rollout), None, "to the last split that held");

    let mut rollout = half();
    rollout.head_for(split("v3"), None, now);
    assert_eq!(rollout.progress(), &Progress { to: split("v3"), under_way: None });
    let mut rollout = half();
    let was = done(&rollout);
    rollout.head_for(split("v2=7"), pace.over, now);
    assert_eq!(done(&rollout), was, "the same in other words");
    rollout.head_for(split("v2=7"), None, now);
    assert_eq!(done(&rollout), None, "no time is to be taken any more");
}

#[test]
fn another_pace_goes_on_from_where_it_is() {
    let mut rollout = begun("v1", "v2", &over(10));
    rollout.advance(&over(10), NOW, ready);
    rollout.advance(&over(10), NOW.after(seconds(1)), ready);
    assert_eq!(done(&rollout), Some(109));
    rollout.advance(&over(99), NOW.after(seconds(2)), ready);
    assert_eq!(done(&rollout), Some(110));
    rollout.advance(&over(2), NOW.after(seconds(3)), ready);
    assert_eq!(done(&rollout), Some(505));
}

#[test]
fn what_a_service_got_that_is_gone_the_others_get() {
    let of_v1 =
        |standing: Standing| move |service: &str| if service == "v1" { standing.clone() } else { AT_REST };
    let gone = of_v1(Standing::Gone);
    let pace = over(10);
    let mut rollout = begun("v1=1, v0=1", "v2", &pace);
    rollout.advance(&pace, NOW, &gone);
    assert_eq!(rollout.progress().under_way.as_ref().unwrap().from, split("v0=1"));
    let mut rollout = begun("v1", "v2", &pace);
    rollout.advance(&pace, NOW, &gone);
    assert_eq!(rollout.progress().weights(), split("v2"), "there is no other way");
    let unknown = of_v1(Standing::Unknown);
    let mut rollout = begun("v1", "v2", &pace);
    rollout.advance(&pace, NOW, unknown);
    assert_eq!(done(&rollout), Some(FIRST), "it may be about to come");
}

#[test]
fn a_rollout_tells_programs_all_of_itself() {
    let pace = over(100);
    let mut rollout = begun("v1", "v2", &pace);
    assert_eq!(
        Rollout::new(Progress { to: split("v1"), under_way: None }, NOW).to_json(&pace, NOW),
        Value::Null
    );
    rollout.advance(&pace, NOW, ready);
    let mut said = rollout.to_json(&pace, NOW.after(Duration::from_millis(500)));
    let left = said["left_seconds"].take().as_f64().unwrap();
    assert!((left - 99.5).abs() < 1e-6, "{left}");
    let wanted = json!({
        "from": "v1=1", "to": "v2=1", "before": "v1=1", "percent": 1.0, "state": "moving", "why": "",
        "over_seconds": 100.0, "left_seconds": null,
    });
    assert_eq!(said, wanted);
    rollout.advance(&pace, NOW, failed);
    let said = rollout.to_json(&pace, NOW);
    assert_eq!((&said["state"], &said["why"]), (&"stopped".into(), &"v2: pod a: ImagePullBackOff".into()));
}

proptest! {
    /// Whatever happens, no growing service ever loses weight, and no step is taken while one lacks pods.
    #[test]
    fn it_never_goes_back_by_itself(events in proptest::collection::vec((0..4_u8, 0..3_000_u64, 1..20_u64), 1..200)) {
        let mut rollout = begun("v1=3, v2=1", "v2=1, v3=2", &over(20));
        let mut now = NOW;
        let mut last = 0;
        for (event, millis, length) in events {
            now = now.after(Duration::from_millis(millis));
            let pace = Pace { paused: event == 1, ..over(length) };
            let look = |_: &str| match event {
                2 => Standing::Well { ready: 0, wanted: 1, rate: 0.0 },
                3 => Standing::Failed("x".to_owned()),
                _ => AT_REST,
            };
            rollout.advance(&pace, now, look);
            let reached = done(&rollout).unwrap_or(WHOLE);
            prop_assert!(reached == last || reached > last && event == 0);
            prop_assert_eq!(rollout.hold().is_some(), event != 0 && done(&rollout).is_some());
            let kept = Progress::read(&rollout.progress().text()).unwrap();
            prop_assert_eq!(&kept, rollout.progress());
            last = reached;
        }
    }
}
