//! Private networks for tests. Their links can be cut silently, without a FIN, a reset or an error, as when a node
//! loses power.
//!
//! A [`Net`] is a star. The test runs in the middle, at [`Spoke::here`]. What should vanish runs at the other end of
//! a link, with [`Spoke::run`]. Each end has a network namespace and a thread that has entered it, because a socket
//! belongs to the namespace of the thread that opens it. The machine's own network is not changed.

use std::{
    net::{IpAddr, Ipv4Addr},
    process::Command,
    sync::atomic::{AtomicUsize, Ordering},
    thread,
};

use tokio::{
    runtime::{Builder, Handle, Runtime},
    sync::oneshot,
};

/// Number of networks that this process has created, which makes their names unique.
static MADE: AtomicUsize = AtomicUsize::new(0);

/// A network with the test in its middle.
#[derive(Debug)]
pub struct Net {
    /// The ends of its links.
    pub spokes: Vec<Spoke>,
}

/// The far end of a link, and what runs there.
#[derive(Debug)]
pub struct Spoke {
    /// The address of the middle, as seen from the far end.
    pub here: IpAddr,
    /// The address of the far end.
    pub there: IpAddr,
    runtime: Handle,
    /// The near end and the far end.
    ends: [End; 2],
    namespace: Namespace,
    /// Stops what runs there when this is dropped.
    _stop: oneshot::Sender<()>,
}

/// One end of a link, and its peer.
#[derive(Debug)]
struct End {
    namespace: String,
    link: String,
    partner: IpAddr,
}

impl End {
    fn new(namespace: &Namespace, link: String, partner: IpAddr) -> Self {
        Self { namespace: namespace.0.clone(), link, partner }
    }
}

/// A network namespace, which is deleted when this is dropped.
#[derive(Debug)]
struct Namespace(String);

/// Runs `test` in a network with this many links. If no network can be created, only prints why.
pub fn in_a_net(links: u8, test: impl AsyncFnOnce(Net) + Send + 'static) {
    if let Some(why) = why_not() {
        println!("skipped: {why}");
        return;
    }
    let name = format!("ebb-{}-{}", std::process::id(), MADE.fetch_add(1, Ordering::Relaxed));
    let middle = Namespace::make(name.clone());
    let run = thread::spawn(move || {
        middle.enter();
        runtime().block_on(async {
            let spokes = (0..links).map(|index| Spoke::link(&middle, index)).collect();
            test(Net { spokes }).await;
        });
    });
    if let Err(panic) = run.join() {
        std::panic::resume_unwind(panic);
    }
}

fn why_not() -> Option<&'static str> {
    if !cfg!(target_os = "linux") {
        return Some("only Linux has network namespaces");
    }
    if !rustix::process::geteuid().is_root() {
        return Some("only root can make network namespaces");
    }
    (!there_is("ip")).then_some("no program `ip` on this machine")
}

fn there_is(program: &str) -> bool {
    Command::new(program).arg("-V").output().is_ok_and(|ended| ended.status.success())
}

fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().build().expect("a runtime")
}

impl Spoke {
    fn link(middle: &Namespace, index: u8) -> Self {
        let namespace = Namespace::make(format!("{}-{index}", middle.0));
        let [here, there] = [1, 2].map(|host| IpAddr::V4(Ipv4Addr::new(10, 9, index, host)));
        let (near, far) = (format!("to-{index}"), &namespace.0);
        middle.ip(&format!(
            "link add {near} address {NEAR_MAC} type veth peer name {FAR} address {FAR_MAC} netns {far}"
        ));
        for (of, address, name) in [(middle, here, &*near), (&namespace, there, FAR)] {
            of.ip(&format!("addr add {address}/24 dev {name}"));
            of.ip(&format!("link set {name} up"));
        }
        let (handles, stop) = (std::sync::mpsc::sync_channel(1), oneshot::channel::<()>());
        let name = namespace.0.clone();
        thread::spawn(move || {
            enter(&name);
            let runtime = runtime();
            handles.0.send(runtime.handle().clone()).expect("the test waits");
            // Ends when its sender is dropped.
            let _ = runtime.block_on(stop.1);
        });
        let runtime = handles.1.recv().expect("the thread has moved");
        let ends = [End::new(middle, near, there), End::new(&namespace, FAR.into(), here)];
        let spoke = Self { here, there, runtime, ends, namespace, _stop: stop.0 };
        spoke.mend();
        spoke
    }

    /// Runs `work` at the far end. Tasks that it spawns there keep running.
    pub async fn run<T: Send + 'static>(&self, work: impl Future<Output = T> + Send + 'static) -> T {
        self.runtime.spawn(work).await.expect("what runs there does not panic")
    }

    /// From now on drops every packet, both ways. Neither end can notice: for its kernel, each packet was sent, as to
    /// a router that drops it. (A kernel that is told that its link is down would notice sooner.)
    pub fn cut(&self) {
        self.send_to([NO_MAC, NO_MAC]);
    }

    /// From now on drops no packets.
    pub fn mend(&self) {
        self.send_to([FAR_MAC, NEAR_MAC]);
    }

    fn send_to(&self, macs: [&str; 2]) {
        for (end, mac) in self.ends.iter().zip(macs) {
            let End { namespace, link, partner } = end;
            ip(&format!("-n {namespace} neigh replace {partner} lladdr {mac} dev {link} nud permanent"));
        }
    }

    /// Delays packets from the far end. Returns whether this machine supports it.
    #[must_use]
    pub fn delay(&self, millis: u32) -> bool {
        let arguments = format!("-n {} qdisc add dev {FAR} root netem delay {millis}ms", self.namespace.0);
        let delayed = Command::new("tc").args(arguments.split(' ')).output();
        delayed.is_ok_and(|ended| ended.status.success())
    }
}

/// The name of the link at each spoke.
const FAR: &str = "far";
const NEAR_MAC: &str = "02:00:00:00:00:01";
const FAR_MAC: &str = "02:00:00:00:00:02";
/// A receiver drops packets for another MAC address.
const NO_MAC: &str = "02:00:00:00:00:03";

impl Namespace {
    fn make(name: String) -> Self {
        ip(&format!("netns add {name}"));
        let namespace = Self(name);
        namespace.ip("link set lo up");
        namespace
    }

    fn ip(&self, arguments: &str) {
        ip(&format!("-n {} {arguments}", self.0));
    }

    fn enter(&self) {
        enter(&self.0);
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        // A failing test does not need a second panic; the name disappears with the machine at the latest.
        let _ = Command::new("ip").args(["netns", "delete", &self.0]).output();
    }
}

fn ip(arguments: &str) {
    let ended = Command::new("ip").args(arguments.split(' ')).output().expect("a program `ip`");
    let said = String::from_utf8_lossy(&ended.stderr);
    assert!(ended.status.success(), "ip {arguments}: {said}");
}

/// Moves this thread, and threads that it starts, into a namespace.
#[cfg(target_os = "linux")]
fn enter(name: &str) {
    use std::os::fd::AsFd;

    use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

    let namespace = std::fs::File::open(format!("/run/netns/{name}")).expect("the namespace was made");
    move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network)).expect("root may move");
}

#[cfg(not(target_os = "linux"))]
fn enter(name: &str) {
    unreachable!("{name}: elsewhere no namespace is made");
}
