use std::{future::Future, pin::Pin, task::Poll};

use ebb_vectors::{Vectors, integer, list};
use proptest::prelude::*;
use serde_json::{Value, json};
use tokio_test::{assert_pending, assert_ready, assert_ready_eq, task};

use super::*;

fn breaker(queue_depth: usize, capacity: usize) -> Arc<Breaker> {
    Breaker::new(Bounds { queue_depth, max_concurrency: capacity, initial_capacity: capacity }).unwrap()
}

#[test]
fn the_oldest_waiter_goes_first_and_nobody_overtakes() {
    let breaker = breaker(10, 1);
    let slot = breaker.try_acquire().unwrap();
    let mut first = task::spawn(breaker.acquire());
    let mut second = task::spawn(breaker.acquire());
    assert_pending!(first.poll());
    assert_pending!(second.poll());
    drop(slot);
    assert!(breaker.try_acquire().is_none(), "the slot belongs to the first waiter already");
    assert_pending!(second.poll());
    let Poll::Ready(Ok(slot)) = first.poll() else { panic!("the first waiter has the slot") };
    drop(slot);
    assert!(second.poll().is_ready());
}

#[test]
fn a_dropped_waiter_gives_its_place_to_the_next() {
    let breaker = breaker(1, 1);
    let slot = breaker.try_acquire().unwrap();
    let mut waiting = task::spawn(breaker.acquire());
    assert_pending!(waiting.poll());
    assert_ready_eq!(task::spawn(breaker.acquire()).poll().map(Result::err), Some(Full));
    drop(waiting);
    assert_eq!(breaker.occupancy(), Occupancy { pending: 0, executing: 1 });
    let mut next = task::spawn(breaker.acquire());
    assert_pending!(next.poll());
    drop(slot);
    assert!(next.poll().is_ready());
}

#[test]
fn a_slot_handed_to_a_waiter_that_never_looks_is_not_lost() {
    let breaker = breaker(2, 1);
    let slot = breaker.try_acquire().unwrap();
    let mut leaver = task::spawn(breaker.acquire());
    let mut stayer = task::spawn(breaker.acquire());
    assert_pending!(leaver.poll());
    assert_pending!(stayer.poll());
    drop(slot);
    drop(leaver);
    assert!(stayer.poll().is_ready());
}

type Acquiring = Pin<Box<dyn Future<Output = Result<Slot, Full>>>>;

/// Runs the operations of a vector on a breaker.
struct Player {
    breaker: Arc<Breaker>,
    waiting: VecDeque<task::Spawn<Acquiring>>,
    running: Vec<Slot>,
    reserved: Vec<Slot>,
    refused: u64,
    cancelled: u64,
    finished: u64,
}

impl Player {
    fn new(bounds: Bounds) -> Self {
        Self {
            breaker: Breaker::new(bounds).unwrap(),
            waiting: VecDeque::new(),
            running: Vec::new(),
            reserved: Vec::new(),
            refused: 0,
            cancelled: 0,
            finished: 0,
        }
    }

    fn start(&mut self) {
        let breaker = self.breaker.clone();
        let mut acquiring: task::Spawn<Acquiring> =
            task::spawn(Box::pin(async move { breaker.acquire().await }));
        match acquiring.poll() {
            Poll::Ready(Ok(slot)) => self.running.push(slot),
            Poll::Ready(Err(Full)) => self.refused += 1,
            Poll::Pending => self.waiting.push_back(acquiring),
        }
    }

    fn settle(&mut self) {
        let mut still = VecDeque::new();
        for mut waiting in self.waiting.drain(..) {
            match waiting.poll() {
                Poll::Ready(Ok(slot)) => self.running.push(slot),
                Poll::Ready(Err(Full)) => panic!("a waiter was refused"),
                Poll::Pending => still.push_back(waiting),
            }
        }
        self.waiting = still;
    }

    fn play(&mut self, op: &str, argument: &Value) {
        let count = || size(argument).unwrap_or_else(|| panic!("{argument} is no number of requests"));
        match op {
            "start" => (0..count()).for_each(|_| self.start()),
            "finish" => (0..count()).for_each(|_| {
                drop(self.running.pop().expect("one is running"));
                self.finished += 1;
                self.settle();
            }),
            "cancel" => (0..count()).for_each(|_| {
                drop(self.waiting.pop_back().expect("one waits"));
                self.cancelled += 1;
            }),
            "reserve" => {
                for want in list(argument) {
                    let got = self.breaker.try_acquire();
                    assert_eq!(got.is_some(), want.as_bool().unwrap(), "reserve");
                    self.reserved.extend(got);
                }
            }
            "unreserve" => (0..count()).for_each(|_| drop(self.reserved.pop().expect("one is reserved"))),
            "update" => self.breaker.set_capacity(count()),
            other => panic!("unknown operation {other:?}"),
        }
        self.settle();
    }

    fn state(&self) -> Vec<u64> {
        let in_flight = self.running.len() + self.waiting.len() + self.reserved.len();
        let occupancy = self.breaker.occupancy();
        assert_eq!(occupancy.pending + occupancy.executing, in_flight);
        let capacity = self.breaker.state.lock().capacity;
        [self.running.len(), self.waiting.len(), self.reserved.len()]
            .map(|n| n as u64)
            .into_iter()
            .chain([self.refused, self.cancelled, self.finished, in_flight as u64, capacity as u64])
            .collect()
    }
}

fn size(value: &Value) -> Option<usize> {
    value.as_u64().and_then(|n| usize::try_from(n).ok())
}

#[test]
fn vectors_breaker_constructor() {
    let vectors = Vectors::load("breaker.json");
    let rows = vectors.rows("constructor");
    for row in rows {
        let accepted = match (size(&row[0]), size(&row[1]), size(&row[2])) {
            (Some(queue_depth), Some(max_concurrency), Some(initial_capacity)) => {
                Breaker::new(Bounds { queue_depth, max_concurrency, initial_capacity }).is_ok()
            }
            // Negative numbers would not compile.
            _ => false,
        };
        assert_eq!(accepted, row[3].as_bool().unwrap(), "{row}");
    }
    println!("breaker.json constructor: compared {} cases", rows.len());
}

#[test]
fn vectors_breaker_cases() {
    let vectors = Vectors::load("breaker.json");
    let cases = vectors.rows("cases");
    let compared: usize = cases.iter().map(compare).sum();
    assert!(compared > 0);
    println!("breaker.json cases: compared {compared} states of {} cases", cases.len());
}

/// Returns the number of states that were compared.
fn compare(case: &Value) -> usize {
    let mut player = Player::new(Bounds {
        queue_depth: size(&case["queue_depth"]).unwrap(),
        max_concurrency: size(&case["max_concurrency"]).unwrap(),
        initial_capacity: size(&case["initial_capacity"]).unwrap(),
    });
    let ops = list(&case["ops"]);
    for (index, op) in ops.iter().enumerate() {
        let op = list(op);
        player.play(op[0].as_str().unwrap(), &op[1]);
        let want: Vec<i64> = op[2..].iter().map(integer).collect();
        let got: Vec<i64> = player.state().into_iter().map(|n| i64::try_from(n).unwrap()).collect();
        assert_eq!(got, want, "case {} op {index} {op:?}", case["name"]);
    }
    ops.len()
}

#[test]
fn a_vector_may_reserve_for_nobody() {
    let case = json!({"name": "forms", "queue_depth": 1, "max_concurrency": 1, "initial_capacity": 1, "ops": [
        ["reserve", null, 0, 0, 0, 0, 0, 0, 0, 1], ["reserve", [], 0, 0, 0, 0, 0, 0, 0, 1],
        ["reserve", [true, false], 0, 0, 1, 0, 0, 0, 1, 1], ["start", 0, 0, 0, 1, 0, 0, 0, 1, 1],
    ]});
    assert_eq!(compare(&case), 4);
}

#[test]
#[should_panic(expected = "-1 is no number of requests")]
fn a_vector_that_starts_fewer_than_none_is_refused() {
    compare(&json!({"queue_depth": 1, "max_concurrency": 1, "initial_capacity": 1, "ops": [["start", -1]]}));
}

proptest! {
    #[test]
    fn a_slot_is_never_lost_or_doubled(
        capacity in 1_usize..4, depth in 1_usize..5, ops in prop::collection::vec(0_u8..4, 0..60),
    ) {
        let mut player = Player::new(Bounds {
            queue_depth: depth, max_concurrency: capacity, initial_capacity: capacity,
        });
        for op in ops {
            match op {
                0 | 1 => player.start(),
                2 => drop(player.running.pop()),
                _ => drop(player.waiting.pop_front()),
            }
            player.settle();
            let occupancy = player.breaker.occupancy();
            prop_assert!(occupancy.executing <= capacity);
            prop_assert_eq!(occupancy.executing, player.running.len());
            prop_assert!(occupancy.pending == 0 || occupancy.executing == capacity, "idle slot while one waits");
        }
    }
}

#[test]
fn nobody_overtakes_a_waiter_whose_slot_is_on_its_way() {
    let breaker = Breaker::new(Bounds { queue_depth: 10, max_concurrency: 1, initial_capacity: 1 }).unwrap();
    let first = breaker.try_acquire().unwrap();
    let mut waiter = task::spawn(breaker.acquire());
    assert_pending!(waiter.poll());
    // The moment between the end of one request and the start of the next.
    breaker.state.lock().executing -= 1;
    assert!(breaker.try_acquire().is_none());
    let mut newcomer = task::spawn(breaker.acquire());
    assert_pending!(newcomer.poll());
    breaker.hand_out();
    let second = assert_ready!(waiter.poll()).unwrap();
    assert_pending!(newcomer.poll());
    std::mem::forget(first);
    drop(second);
    assert!(assert_ready!(newcomer.poll()).is_ok());
}
