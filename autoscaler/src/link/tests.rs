use std::time::Duration;

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
        let hello = Hello { name: format!("activator-{n}"), address: ip(n).to_string(), heartbeats };
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
