use super::*;

/// Plays requests of a service without a limit while pods come and go. The reference has a separate breaker
/// for it; Ebb uses the throttler.
struct Player {
    throttler: Throttler<()>,
    waiting: VecDeque<Ticket>,
    pods: u64,
    started: u64,
    cancelled: u64,
}

impl Player {
    fn new() -> Self {
        let throttler = throttler(0);
        Self { throttler, waiting: VecDeque::new(), pods: 0, started: 0, cancelled: 0 }
    }

    fn arrive(&mut self) {
        if self.throttler.try_dispatch(LATER, &mut rng()).is_some() {
            self.started += 1;
        } else {
            self.waiting.push_back(self.throttler.hold(()).unwrap());
        }
    }

    fn cancel_one(&mut self) {
        let ticket = self.waiting.pop_back().unwrap();
        assert_eq!(self.throttler.cancel(ticket), Some(()));
        self.cancelled += 1;
    }

    fn update(&mut self, pods: u64) {
        for id in pods..self.pods {
            self.throttler.remove_pod(PodId(id));
        }
        for id in self.pods..pods {
            self.throttler.add_pod(PodId(id), &format!("{id:05}"));
            self.throttler.pod_ready(PodId(id), NOW);
        }
        self.pods = pods;
    }

    fn settle(&mut self) {
        for grant in self.throttler.grants(LATER, &mut rng()) {
            assert_eq!(self.waiting.pop_front(), Some(grant.ticket), "oldest first");
            self.started += 1;
        }
    }

    /// Capacity, started, cancelled, waiting.
    fn state(&self) -> [u64; 4] {
        [self.throttler.capacity(), self.started, self.cancelled, self.throttler.held() as u64]
    }
}

#[test]
fn vectors_throttler_infinite_breaker() {
    let vectors = vectors();
    let states: usize = vectors.rows("infinite_breaker").iter().map(compare).sum();
    println!("{states} states compared");
    assert_ne!(states, 0);
}

/// Returns how many states were compared.
fn compare(case: &Value) -> usize {
    let mut player = Player::new();
    let ops = list(&case["ops"]);
    for (step, op) in ops.iter().enumerate() {
        let op = list(op);
        let wanted = match op[0].as_str().unwrap() {
            "maybe" => {
                player.arrive();
                &op[1..]
            }
            "cancel_one" => {
                player.cancel_one();
                &op[1..]
            }
            "update" => {
                // A hundred pods are as open as any number of them.
                player.update(op[1].as_u64().unwrap().min(100));
                &op[2..]
            }
            other => panic!("{}: unknown operation {other}", case["name"]),
        };
        player.settle();
        let wanted: Vec<i64> = wanted.iter().map(integer).collect();
        let state = player.state().map(|count| i64::try_from(count).unwrap());
        assert_eq!(state, *wanted, "{}: step {step}, {op:?}", case["name"]);
    }
    ops.len()
}

#[test]
fn a_capacity_may_be_as_large_as_the_reference_counts() {
    let ops =
        json!([["maybe", 0, 0, 0, 1], ["update", 2_147_483_647, 1, 1, 0, 0], ["update", 0, 0, 1, 0, 0]]);
    assert_eq!(compare(&json!({"name": "large", "ops": ops})), 3);
}
