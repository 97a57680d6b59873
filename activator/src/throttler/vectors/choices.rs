use std::collections::HashMap;

use super::*;

fn policy_of(name: &Value) -> Policy {
    match name.as_str().unwrap() {
        "random_choice_2" => Policy::RandomChoiceOfTwo,
        "first_available" => Policy::FirstAvailable,
        "round_robin" => Policy::RoundRobin,
        other => panic!("unknown policy {other}"),
    }
}

#[test]
fn vectors_throttler_policy_selection() {
    let vectors = vectors();
    let rows = vectors.rows("policy_selection");
    for row in rows {
        let mut throttler = throttler(number(&row[0]));
        assert_eq!(throttler.limits.policy(), policy_of(&row[1]), "{row}");
        let breaker = if throttler.limit().is_some() { "bounded" } else { "infinite" };
        assert_eq!(breaker, row[2], "{row}");
        assert_eq!(throttler.capacity(), u64::from(number(&row[3])), "{row}");
        assert_eq!(throttler.try_dispatch(LATER, &mut rng()), None, "{row}");
        // The reference's mark for an activator that does not know its place; here it counts as alone.
        assert_eq!(row[4], -1, "{row}");
        assert_eq!(Share::new(0, 0), throttler.limits.share);
    }
    println!("{} services compared", rows.len());
}

/// Pods with capacities, and a policy that chooses among them.
struct Balancer {
    policy: Policy,
    placement: Placement,
    pods: Vec<Balanced>,
}

struct Balanced {
    in_flight: u32,
    /// `None` is unlimited.
    capacity: Option<u32>,
}

impl Balancer {
    fn new(case: &Value) -> Self {
        let placement = Placement::default();
        Self { policy: policy_of(&case["policy"]), placement, pods: idle(&case["capacities"]) }
    }

    fn acquire(&mut self) -> Option<usize> {
        let roomy: Vec<Candidate> = (0..)
            .zip(self.pods.iter().enumerate())
            .filter(|(_, (_, pod))| pod.capacity.is_none_or(|capacity| pod.in_flight < capacity))
            .map(|(place, (at, pod))| Candidate { place, at, in_flight: pod.in_flight })
            .collect();
        let pods = u32::try_from(self.pods.len()).unwrap();
        let chosen = self.placement.choose(self.policy, &roomy, pods, &mut rng())?;
        self.pods[chosen.at].in_flight += 1;
        Some(chosen.at)
    }
}

fn idle(capacities: &Value) -> Vec<Balanced> {
    list(capacities).iter().map(|value| Balanced { in_flight: 0, capacity: capacity_of(value) }).collect()
}

/// Returns a pod's capacity, where -1 is unlimited.
fn capacity_of(value: &Value) -> Option<u32> {
    u32::try_from(integer(value)).ok()
}

#[test]
fn vectors_throttler_lb() {
    let vectors = vectors();
    let cases = vectors.rows("lb");
    let choices: usize = cases.iter().map(compare).sum();
    println!("{choices} choices compared, of {} cases", cases.len());
    assert_ne!(choices, 0);
}

/// Returns how many choices were compared.
fn compare(case: &Value) -> usize {
    let mut balancer = Balancer::new(case);
    let mut held: HashMap<Option<u64>, usize> = HashMap::new();
    let mut choices = 0;
    for (step, op) in list(&case["ops"]).iter().enumerate() {
        let index = |value: &Value| value.as_u64().and_then(|index| usize::try_from(index).ok());
        match op[0].as_str().unwrap() {
            "acq" => {
                let chosen = balancer.acquire();
                assert_eq!(chosen, index(&op[2]), "{}: step {step}, {op}", case["name"]);
                held.extend(chosen.map(|at| (op[1].as_u64(), at)));
                choices += 1;
            }
            "rel" => {
                let at = held.remove(&op[1].as_u64()).unwrap();
                balancer.pods[at].in_flight -= 1;
            }
            "addw" => balancer.pods[index(&op[1]).unwrap()].in_flight += 1,
            "cap" => balancer.pods[index(&op[1]).unwrap()].capacity = capacity_of(&op[2]),
            "trk" => {
                balancer.pods = idle(&op[1]);
                held.clear();
            }
            other => panic!("{}: unknown operation {other}", case["name"]),
        }
    }
    choices
}

#[test]
fn a_pod_may_lose_its_limit_and_all_pods_may_go() {
    let case = json!({"name": "forms", "policy": "first_available", "capacities": [1, -1], "ops": [
        ["acq", 0, 0], ["acq", 1, 1], ["cap", 0, -1], ["acq", 2, 0], ["rel", 2],
        ["trk", null], ["acq", null, -1],
    ]});
    assert_eq!(compare(&case), 4);
}
