use std::time::Duration;

use ebb_core::link::Frames;
use ebb_decide::platform::Applied;

use super::*;

/// Activators at 10.0.0.1, 10.0.0.2 and so on, which all answer for one service.
struct World {
    activators: Activators,
    now: Tick,
    /// Keeps the channels open.
    unread: Vec<mpsc::Receiver<Bytes>>,
}

fn service() -> Arc<ServiceKey> {
    Arc::new(ServiceKey::new("shop", "web"))
}

fn ip(n: u64) -> IpAddr {
    IpAddr::from([10, 0, 0, u8::try_from(n).unwrap()])
}

fn listening(port: u32, error: &str) -> Listening {
    Listening { namespace: "shop".into(), name: "web".into(), port, error: error.into() }
}

impl World {
    fn with(heartbeats: &[bool]) -> Self {
        let mut world =
            Self { activators: Activators::default(), now: Tick::from_secs(1_000), unread: vec![] };
        for (n, heartbeats) in (1..).zip(heartbeats) {
            world.joins(LinkId(n), n, *heartbeats);
        }
        world
    }

    fn joins(&mut self, id: LinkId, n: u64, heartbeats: bool) {
        let (down, read) = mpsc::channel(8);
        self.unread.push(read);
        self.activators.join(id, down, Down::default());
        let hello =
            Hello { name: format!("activator-{n}"), address: ip(n).to_string(), heartbeats, confirms: true };
        self.activators.hello(id, &hello, self.now);
        self.activators.listening(id, service(), &listening(80, ""));
    }

    /// Lets `seconds` pass in which only `speaking` send. Returns whether anything changed for the service.
    fn pass(&mut self, seconds: u64, speaking: &[u64]) -> bool {
        let mut changed = false;
        for _ in 0..seconds {
            self.now = self.now.after(Duration::from_secs(1));
            for id in speaking {
                changed |= !self.activators.heard(LinkId(*id), self.now).is_empty();
            }
            changed |= self.activators.look(self.now).contains(&service());
        }
        changed
    }

    fn answering(&self) -> (Vec<u64>, Standing) {
        let found = self.activators.answering(&service());
        let number = |address: &SocketAddr| match address.ip() {
            IpAddr::V4(ip) => u64::from(ip.octets()[3]),
            IpAddr::V6(_) => 0,
        };
        (found.addresses.iter().map(number).collect(), found.standing)
    }
}

#[test]
fn one_that_is_silent_for_six_seconds_gets_nothing_until_it_speaks_again() {
    let mut world = World::with(&[true, true]);
    assert!(!world.pass(5, &[2]));
    assert_eq!(world.answering(), (vec![1, 2], Standing::Heard));
    assert!(world.pass(1, &[2]));
    assert_eq!(world.answering(), (vec![2], Standing::Heard));
    assert_eq!(world.activators.doubtful(), 1);
    assert!(!world.pass(60, &[2]));
    assert!(world.pass(1, &[1, 2]), "its ports were kept");
    assert_eq!(world.answering(), (vec![1, 2], Standing::Heard));
    assert_eq!(world.activators.doubtful(), 0);
}

#[test]
fn if_all_are_silent_all_stay() {
    let mut world = World::with(&[true, true]);
    world.pass(60, &[]);
    assert_eq!(world.answering(), (vec![1, 2], Standing::Doubtful));
    assert!(world.pass(1, &[1]));
    assert_eq!(world.answering(), (vec![1], Standing::Heard));
}

#[test]
fn an_older_one_that_sends_no_heartbeats_is_not_judged_by_its_silence() {
    let mut world = World::with(&[false, true]);
    world.pass(600, &[2]);
    assert_eq!(world.answering(), (vec![1, 2], Standing::Heard));
    world.pass(6, &[]);
    assert_eq!(world.answering(), (vec![1], Standing::Heard));
}

#[test]
fn streams_that_break_off_one_after_the_other_leave_all_of_their_activators() {
    let mut world = World::with(&[true, true, true]);
    world.activators.leave(LinkId(1), LinkEnd::Closed, world.now);
    world.activators.leave(LinkId(2), LinkEnd::BrokeOff, world.now);
    assert_eq!(world.answering(), (vec![3], Standing::Heard));
    world.pass(5, &[]);
    world.activators.leave(LinkId(3), LinkEnd::BrokeOff, world.now);
    assert_eq!(world.answering(), (vec![2, 3], Standing::Gone), "the first one said that it leaves");

    world.joins(LinkId(4), 4, true);
    assert_eq!(world.answering(), (vec![4], Standing::Heard));
    world.pass(24, &[4]);
    world.activators.leave(LinkId(4), LinkEnd::BrokeOff, world.now);
    assert_eq!(world.answering().0, [2, 3, 4]);
    world.joins(LinkId(5), 4, true);
    assert!(world.pass(10, &[5]), "others are heard for long enough");
    world.activators.leave(LinkId(5), LinkEnd::BrokeOff, world.now);
    assert_eq!(world.answering().0, [4]);
}

#[test]
fn one_that_broke_off_and_whose_pod_leaves_is_nowhere() {
    for pod_leaves_first in [true, false] {
        let mut world = World::with(&[true]);
        world.activators.set_pods(&[(ip(1), true)]);
        if pod_leaves_first {
            assert!(world.activators.set_pods(&[]).contains(&service()));
            assert_eq!(world.answering(), (vec![1], Standing::Doubtful));
        }
        world.activators.leave(LinkId(1), LinkEnd::BrokeOff, world.now);
        if !pod_leaves_first {
            assert_eq!(world.answering(), (vec![1], Standing::Gone));
            assert!(world.activators.set_pods(&[]).contains(&service()));
        }
        assert_eq!(world.answering(), (vec![], Standing::Gone), "{pod_leaves_first}");
    }
}

#[test]
fn one_that_comes_back_and_cannot_answer_is_not_what_it_was_before() {
    let mut world = World::with(&[true]);
    world.activators.leave(LinkId(1), LinkEnd::BrokeOff, world.now);
    world.joins(LinkId(2), 1, true);
    world.activators.listening(LinkId(2), service(), &listening(80, "in use"));
    assert!(world.answering().0.is_empty());
}

#[test]
fn an_activator_with_a_stream_left_over_is_heard_on_its_later_one() {
    let mut world = World::with(&[true, true]);
    world.joins(LinkId(3), 1, true);
    world.pass(60, &[2, 3]);
    assert_eq!(world.answering(), (vec![1, 2], Standing::Heard));
    assert_eq!((world.activators.len(), world.activators.doubtful()), (2, 0));
}

/// What is known of one activator when another asks how far a number was applied.
enum One {
    /// It has applied everything up to this number.
    Has(u64),
    /// It has too, but its port is in use.
    Deaf(u64),
    /// It has not introduced itself.
    New,
    /// It is of an older version.
    Older,
    /// It is silent, and has applied nothing.
    Silent,
    /// Its pod is not ready, and it has applied nothing.
    Unready,
    /// It left.
    Gone,
    /// It has a second stream, on which it has applied everything up to this number.
    Twice(u64),
}
use One::{Deaf, Gone, Has, New, Older, Silent, Twice, Unready};

/// Returns how far activators 1, 2 and so on have applied what number 5 asks for.
fn applied(all: &[One]) -> Applied {
    let mut world = World::with(&[]);
    world.activators.lead(true);
    for _ in 0..5 {
        world.activators.number();
    }
    let mut pods = Vec::new();
    for (n, one) in (1..).zip(all) {
        let id = LinkId(n);
        if matches!(one, New) {
            let (down, read) = mpsc::channel(8);
            world.unread.push(read);
            world.activators.join(id, down, Down::default());
            continue;
        }
        world.joins(id, n, true);
        match one {
            Has(number) => world.activators.applied(id, *number),
            Deaf(number) => {
                world.activators.applied(id, *number);
                world.activators.listening(id, service(), &listening(80, "in use"));
            }
            Older => {
                let hello =
                    Hello { name: format!("activator-{n}"), address: ip(n).to_string(), ..Hello::default() };
                world.activators.hello(id, &hello, world.now);
                // What it says all the same means nothing.
                world.activators.applied(id, 5);
            }
            Unready => pods.push((ip(n), false)),
            Gone => drop(world.activators.leave(id, LinkEnd::BrokeOff, world.now)),
            Twice(number) => {
                world.joins(LinkId(n + 100), n, true);
                world.activators.applied(LinkId(n + 100), *number);
            }
            New | Silent => {}
        }
    }
    world.activators.set_pods(&pods);
    let speaks = |(n, one): (u64, &One)| (!matches!(one, Silent)).then_some([n, n + 100]);
    let speaking: Vec<u64> = (1..).zip(all).filter_map(speaks).flatten().collect();
    world.pass(6, &speaking);
    world.activators.have_applied(&service(), 5)
}

#[test]
fn something_is_applied_once_every_activator_that_takes_requests_has_applied_it() {
    let pending = |n: u64| Applied::Pending(format!("activator-{n}"));
    for (n, (all, wanted)) in [
        (vec![], Applied::Nowhere),
        (vec![Gone], Applied::Nowhere),
        (vec![Has(5)], Applied::Everywhere),
        (vec![Has(4)], pending(1)),
        (vec![Has(5), Has(5), Has(5)], Applied::Everywhere),
        (vec![Has(5), Has(4), Has(0)], pending(2)),
        (vec![Has(5), New], Applied::Pending(String::new())),
        (vec![Has(5), Gone], Applied::Everywhere),
        (vec![Has(5), Silent, Unready], Applied::Everywhere),
        (vec![Silent, Unready], pending(1)),
        (vec![Older], Applied::Untold("activator-1".into())),
        (vec![Has(4), Older, Has(5)], Applied::Untold("activator-2".into())),
        (vec![Has(5), Deaf(5)], Applied::Everywhere),
        (vec![Has(5), Deaf(4)], pending(2)),
        (vec![Deaf(5), Deaf(5)], Applied::Unbound),
        (vec![Twice(5), Has(5)], Applied::Everywhere),
        (vec![Twice(4), Has(5)], pending(1)),
        // It cannot have applied what it was not told.
        (vec![Has(u64::MAX)], Applied::Everywhere),
    ]
    .into_iter()
    .enumerate()
    {
        assert_eq!(applied(&all), wanted, "row {n}");
    }
}

#[test]
fn numbers_of_a_stream_rise_and_a_new_stream_begins_with_the_last_one() {
    let mut activators = Activators::default();
    let join = |activators: &mut Activators, id| {
        let (down, read) = mpsc::channel(8);
        activators.join(LinkId(id), down, Down::default());
        read
    };
    let numbers = |read: &mut mpsc::Receiver<Bytes>| {
        let mut frames = Frames::default();
        while let Ok(bytes) = read.try_recv() {
            frames.push(&bytes);
        }
        let next = || frames.next_message::<Down>().unwrap().map(|down| down.number);
        std::iter::from_fn(next).collect::<Vec<u64>>()
    };
    let mut follows = join(&mut activators, 1);
    activators.lead(true);
    let mut first = join(&mut activators, 2);
    assert_eq!((activators.number(), activators.number()), (1, 2));
    let mut late = join(&mut activators, 3);
    activators.tell_replicas(&[]);
    activators.number();
    assert_eq!(numbers(&mut follows), [0, 1, 2, 0, 3]);
    assert_eq!(numbers(&mut first), [0, 1, 2, 0, 3], "nothing else asks for an answer");
    assert_eq!(numbers(&mut late), [2, 0, 3]);
    activators.lead(false);
    assert_eq!(numbers(&mut join(&mut activators, 4)), [0], "it sent no tables");
}

#[test]
fn a_ready_activator_without_a_stream_is_missing() {
    let mut world = World::with(&[true, true]);
    assert_eq!(world.activators.missing(), None);
    world.activators.set_pods(&[(ip(1), true), (ip(2), false), (ip(3), true), (ip(4), false)]);
    assert_eq!(world.activators.missing(), Some(ip(3)));
    world.joins(LinkId(3), 3, true);
    assert_eq!(world.activators.missing(), None);
    world.activators.leave(LinkId(1), LinkEnd::Closed, world.now);
    assert_eq!(world.activators.missing(), Some(ip(1)));
}
