//! Slow-starting apps under load that comes suddenly: a service, its pods and its requests, simulated second by
//! second, decided on by Ebb and by the rules of the reference.

use std::{collections::BTreeMap, net::SocketAddr, sync::Arc, time::Duration};

use ebb_annotations::{ClusterDefaults, Reachability, full_key, parse};
use ebb_core::{ServiceKey, Tick, stat::Stat};
use ebb_decide::{
    Pod, PodAddress,
    endpoints::Answering,
    sampling::Estimate,
    service::{Cause, Next, ServiceState},
};

/// Steps in a second.
const STEPS: u64 = 10;

/// A service whose requests all come through an activator. Requests are a quantity here, not things.
struct Simulated {
    state: ServiceState,
    now: Tick,
    pods: Vec<Pod>,
    created: usize,
    startup: Duration,
    request_seconds: f64,
    /// Requests that a pod admits at once.
    limit: f64,
    /// Requests that a pod gets on with at once.
    executes_at_most: f64,
    in_flight: f64,
    /// In the last second: requests in flight, those among them in pods, arrivals, and starts in pods.
    second: [f64; 4],
    seen: Vec<Seen>,
}

/// What was at the end of a second.
#[derive(Clone, Copy, Debug)]
struct Seen {
    pods: usize,
    in_flight: f64,
}

impl Simulated {
    fn new(annotations: &[(&str, &str)], startup: u64, request_seconds: f64) -> Self {
        let annotations: BTreeMap<String, String> =
            annotations.iter().map(|(key, value)| (full_key(key), (*value).to_owned())).collect();
        let defaults = ClusterDefaults { allow_zero_initial_scale: true, ..ClusterDefaults::default() };
        let spec = parse(&annotations, &defaults, Reachability::Reachable).expect("good annotations").spec;
        let limit = spec.serving.container_concurrency.map_or(f64::INFINITY, |limit| f64::from(limit.get()));
        let now = Tick::from_secs(1_000_000);
        let mut state = ServiceState::new(Arc::new(ServiceKey::new("ns", "web")), Arc::new(spec), now);
        state.set_activators(Answering::heard(vec![SocketAddr::from(([10, 0, 1, 1], 80))]), now);
        let startup = Duration::from_secs(startup);
        let mut simulated = Self {
            state,
            now,
            pods: Vec::new(),
            created: 0,
            startup,
            request_seconds,
            limit,
            executes_at_most: limit,
            in_flight: 0.0,
            second: [0.0; 4],
            seen: Vec::new(),
        };
        simulated.tell_pods();
        simulated
    }

    fn ready(&self) -> f64 {
        self.pods.iter().filter(|pod| pod.ready).count() as f64
    }

    fn tell_pods(&mut self) {
        let replicas = u32::try_from(self.pods.len()).unwrap_or(u32::MAX);
        self.state.set_pods(self.pods.clone(), replicas, self.now);
        self.decide(Cause::Change);
    }

    /// Decides, and has the pods that are wanted.
    fn decide(&mut self, cause: Cause) {
        let actions = self.state.evaluate(self.now, cause);
        if let Some(wanted) = actions.scale_to {
            let wanted = usize::try_from(wanted).unwrap_or(usize::MAX);
            self.pods.truncate(wanted);
            while self.pods.len() < wanted {
                self.created += 1;
                let address = SocketAddr::from(([10, 0, 0, 1], 80));
                self.pods.push(Pod {
                    name: self.created.to_string(),
                    address: Some(PodAddress { serving: address, stats: address }),
                    nonce: String::new(),
                    direct: false,
                    ready: false,
                    started_at: self.now,
                });
            }
            self.tell_pods();
        } else if actions.next == Next::Within(Duration::ZERO) {
            self.decide(cause);
        }
    }

    fn step(&mut self, arrivals: f64) {
        let length = 1.0 / STEPS as f64;
        let admitted = self.in_flight.min(self.ready() * self.limit);
        let executed = admitted.min(self.ready() * self.executes_at_most);
        let ended = (executed / self.request_seconds * length).min(executed);
        self.in_flight += arrivals * length - ended;
        let in_pods = self.in_flight.min(self.ready() * self.limit);
        for (sum, value) in self.second.iter_mut().zip([
            self.in_flight * length,
            in_pods * length,
            arrivals * length,
            (in_pods - admitted + ended).max(0.0),
        ]) {
            *sum += value;
        }
        self.now = self.now.after(Duration::from_secs(1) / u32::try_from(STEPS).expect("few steps"));
        let (now, startup) = (self.now, self.startup);
        let mut started = false;
        for pod in self.pods.iter_mut().filter(|pod| !pod.ready && now.since(pod.started_at) >= startup) {
            (pod.ready, started) = (true, true);
        }
        if started {
            self.tell_pods();
        }
    }

    /// So many seconds with so many arrivals each.
    fn pass(&mut self, seconds: u64, arrivals: f64) {
        for _ in 0..seconds {
            for _ in 0..STEPS {
                self.step(arrivals);
            }
            let [in_flight, in_pods, arrived, started] = std::mem::take(&mut self.second);
            let activator =
                Stat { average_concurrent_requests: in_flight, request_count: arrived, ..Stat::default() };
            let mut poke = self.state.report(self.now, &activator);
            if self.state.is_scraped() {
                let stat = Stat {
                    average_concurrent_requests: in_pods,
                    average_proxied_concurrent_requests: in_pods,
                    request_count: started,
                    proxied_request_count: started,
                    ..Stat::default()
                };
                poke |= self.state.scraped(self.now, Ok(Some(Estimate { stat, fresh: true })));
            }
            if self.now.as_secs().is_multiple_of(2) {
                self.decide(Cause::Tick);
            } else if poke {
                self.decide(Cause::Poke);
            }
            self.seen.push(Seen { pods: self.pods.len(), in_flight: self.in_flight });
        }
    }

    /// The most pods after so many seconds.
    fn most_pods(&self, after: usize) -> usize {
        self.seen[after..].iter().map(|seen| seen.pods).max().unwrap_or(0)
    }

    fn last(&self) -> Seen {
        *self.seen.last().expect("time has passed")
    }
}

const KNATIVE: (&str, &str) = ("ebb.dev/compatibility", "knative");

/// A minute of 50 requests a second, then two of 500; each takes 0.1 s, a pod takes ten at once and 30 s to start.
/// Eight pods are enough: `500 × 0.1 ÷ 7`.
fn spike(more: &[(&str, &str)]) -> Simulated {
    let annotations = [&[("container-concurrency", "10"), ("initial-scale", "0")], more].concat();
    let mut simulated = Simulated::new(&annotations, 30, 0.1);
    simulated.pass(120, 50.0);
    simulated.pass(180, 500.0);
    simulated
}

#[test]
fn a_spike_does_not_explode_a_service_that_starts_slowly() {
    let ours = spike(&[]);
    let reference = spike(&[KNATIVE]);
    println!("pods at the peak: {}, the reference {}", ours.most_pods(120), reference.most_pods(120));
    assert!(ours.most_pods(120) <= 3 * 8, "{} pods at the peak", ours.most_pods(120));
    assert!(
        reference.most_pods(120) > 20 * 8,
        "{} pods at the peak of the reference",
        reference.most_pods(120)
    );
    // What had piled up is worked off a minute after the first pods came, and pods are what is needed.
    let settled = ours.seen[120 + 30 + 60];
    assert!(settled.in_flight < 60.0, "{settled:?}");
    let last = ours.last();
    assert!((8..=10).contains(&last.pods) && last.in_flight < 60.0, "{last:?}");
}

/// The same without a limit, as most services are: one pod takes all, and is slower the more it has.
#[test]
fn a_pod_that_is_overrun_meanwhile_does_not_explode_it_either() {
    let overrun = |more: &[(&str, &str)]| {
        let annotations = [&[("target", "10"), ("initial-scale", "0")], more].concat();
        let mut simulated = Simulated::new(&annotations, 30, 0.1);
        simulated.executes_at_most = 10.0;
        simulated.pass(120, 50.0);
        simulated.pass(180, 500.0);
        simulated
    };
    let (ours, reference) = (overrun(&[]), overrun(&[KNATIVE]));
    println!("pods at the peak: {}, the reference {}", ours.most_pods(120), reference.most_pods(120));
    assert!(ours.most_pods(120) <= 5 * 8, "{} pods at the peak", ours.most_pods(120));
    assert!(
        reference.most_pods(120) > 20 * 8,
        "{} pods at the peak of the reference",
        reference.most_pods(120)
    );
    let last = ours.last();
    assert!((8..=10).contains(&last.pods) && last.in_flight < 60.0, "{last:?}");
}

#[test]
fn the_first_spike_of_all_is_bounded_too() {
    let first = |more: &[(&str, &str)]| {
        let annotations = [&[("container-concurrency", "10"), ("initial-scale", "0")], more].concat();
        let mut simulated = Simulated::new(&annotations, 30, 0.1);
        simulated.pass(180, 500.0);
        simulated
    };
    let (ours, reference) = (first(&[]), first(&[KNATIVE]));
    println!("pods at the peak: {}, the reference {}", ours.most_pods(0), reference.most_pods(0));
    // What arrives within 6 s counts, as long as nobody knows how long a request takes.
    assert!(ours.most_pods(0) <= 600, "{} pods", ours.most_pods(0));
    assert!(reference.most_pods(0) > 3 * ours.most_pods(0), "{} pods", reference.most_pods(0));
    assert!(ours.last().in_flight < 60.0 && ours.last().pods < 20, "{:?}", ours.last());
}

#[test]
fn many_long_jobs_at_once_get_a_pod_each() {
    let mut jobs = Simulated::new(&[("container-concurrency", "1"), ("initial-scale", "0")], 5, 60.0);
    jobs.pass(1, 50.0);
    jobs.pass(9, 0.0);
    assert!(jobs.last().pods >= 50, "{:?}", jobs.last());
}

#[test]
fn connections_that_stay_are_load_and_no_pile() {
    let annotations = [("target", "100"), ("target-utilization-percentage", "100"), ("initial-scale", "0")];
    let mut sockets = Simulated::new(&annotations, 30, 3600.0);
    sockets.pass(30, 1.0);
    sockets.pass(570, 5.0);
    let last = sockets.last();
    assert!(last.in_flight > 2_000.0, "{last:?}");
    // At most what has come within a start-up and a window is not counted yet.
    assert!(last.pods as f64 * 100.0 >= last.in_flight - 5.0 * 90.0, "{last:?}");
}

#[test]
fn a_load_within_the_band_does_not_make_pods_flap() {
    for compatibility in ["none", "knative"] {
        for arrivals in [50.0, 120.0, 333.0, 640.0] {
            let annotations = [
                ("container-concurrency", "10"),
                ("initial-scale", "0"),
                ("ebb.dev/compatibility", compatibility),
            ];
            let mut steady = Simulated::new(&annotations, 2, 0.1);
            steady.pass(400, arrivals);
            let settled: Vec<usize> = steady.seen[250..].iter().map(|seen| seen.pods).collect();
            assert!(settled.windows(2).all(|pair| pair[0] == pair[1]), "{arrivals} a second: {settled:?}");
        }
    }
}

#[test]
fn a_service_that_lately_started_goes_to_zero_no_sooner_than_another() {
    let mut stopped = spike(&[]);
    stopped.pass(59, 0.0);
    assert!(stopped.last().pods >= 1, "{:?}", stopped.last());
    stopped.pass(60, 0.0);
    assert_eq!(stopped.last().pods, 0);
}

/// Requests were short, and then connections come that stay: they are no pile either, as nothing ends.
#[test]
fn connections_that_stay_are_noticed_where_requests_were_short() {
    let mut changed = Simulated::new(&[("target", "10"), ("initial-scale", "0")], 20, 0.05);
    changed.pass(120, 20.0);
    changed.request_seconds = 3600.0;
    changed.pass(1, 500.0);
    changed.pass(44, 0.0);
    assert!(changed.last().pods >= 70, "{:?}", changed.last());
}
