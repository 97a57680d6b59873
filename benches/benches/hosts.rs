//! The cost of hosts to the gateway: a look-up among 10 000 of them, and the memory of each, compared with a
//! plain hash map that is asked for exact names.
//!
//! `cargo bench -p ebb-benches --bench hosts`

use std::{collections::HashMap, fs, hint::black_box, sync::Arc};

use activator::HostTable;
use tokio::time::Instant;

const HOSTS: usize = 10_000;
const LOOKS: u32 = 2_000_000;
const ROUNDS: usize = 7;

fn main() {
    let before = resident();
    let mut table = HostTable::default();
    for n in 0..HOSTS {
        // As many exact names as wildcards, all of tenants that have several.
        let name = if n % 2 == 0 { exact(n) } else { format!("*.{}", parent(n)) };
        table.insert(&name.parse().expect("the name of a host"), Arc::new(n));
    }
    let after = resident();
    println!("{HOSTS} hosts: {} bytes each", after.saturating_sub(before) / HOSTS);
    let plain: HashMap<String, Arc<usize>> = (0..HOSTS).map(|n| (exact(n), Arc::new(n))).collect();

    let asked = |name: fn(usize) -> String| -> Vec<String> { (0..HOSTS).step_by(37).map(name).collect() };
    println!("a look-up, ns: the median of {ROUNDS} rounds of {LOOKS}, and the fastest");
    for (what, names) in [
        ("an exact name", asked(|n| exact(n & !1))),
        (
            "an exact name, in capitals, with a port",
            asked(|n| format!("{}:8080", exact(n & !1).to_uppercase())),
        ),
        ("a name below a wildcard", asked(|n| format!("a.{}", parent(n | 1)))),
        ("a name three labels below a wildcard", asked(|n| format!("a.b.c.{}", parent(n | 1)))),
        ("a name that nobody asks for", asked(|n| format!("host-{n}.elsewhere.example.org"))),
    ] {
        show(what, &measure(&names, |name| table.find(name.as_bytes()).is_some()));
    }
    show("a plain table", &measure(&asked(exact), |name| plain.contains_key(name)));
}

fn exact(n: usize) -> String {
    format!("host-{n}.tenant-{}.apps.example.com", n / 10)
}

fn parent(n: usize) -> String {
    format!("host-{n}.wide.tenant-{}.apps.example.com", n / 10)
}

/// Returns the nanoseconds per look-up in each round, sorted.
fn measure(names: &[String], look: impl Fn(&str) -> bool) -> Vec<f64> {
    let mut rounds: Vec<f64> = (0..ROUNDS)
        .map(|_| {
            let begin = Instant::now();
            for name in names.iter().cycle().take(LOOKS as usize) {
                black_box(look(black_box(name)));
            }
            begin.elapsed().as_secs_f64() * 1e9 / f64::from(LOOKS)
        })
        .collect();
    rounds.sort_by(f64::total_cmp);
    rounds
}

fn show(what: &str, rounds: &[f64]) {
    let [fastest, median] = [0, rounds.len() / 2].map(|at| rounds.get(at).copied().unwrap_or_default());
    println!("{what:<42} {median:>6.1} {fastest:>6.1}");
}

/// Returns the resident bytes of this process.
fn resident() -> usize {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<usize>().ok());
    kib.unwrap_or_default() * 1024
}
