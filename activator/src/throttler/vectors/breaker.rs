use super::*;

/// Requests of a service without a limit, before pods that come and go. The reference has a breaker of its own
/// for it; in Ebb it is the throttler as always.
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
    let mut states = 0;
    for case in vectors.rows("infinite_breaker") {
        let mut player = Player::new();
        for (step, op) in case["ops"].as_array().unwrap().iter().enumerate() {
            let op = op.as_array().unwrap();
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
                    player.update(op[1].as_u64().unwrap());
                    &op[2..]
                }
                other => panic!("{}: unknown operation {other}", case["name"]),
            };
            player.settle();
            let wanted: Vec<u64> = wanted.iter().map(|number| number.as_u64().unwrap()).collect();
            assert_eq!(player.state(), *wanted, "{}: step {step}, {op:?}", case["name"]);
            states += 1;
        }
    }
    println!("{states} states compared");
}
