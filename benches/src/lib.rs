//! Benches, in `benches/`: each prints what it measures and what it compares with.
//!
//! - `decider`: the pure parts: record, average, one decision.
//! - `cold_start`: cold starts on this machine, phase by phase.
//! - `routes`: what a route costs an activator, and how exactly it divides requests.
//! - `proxy_cpu`: what a request costs the queue-proxy, beside nginx.
//! - `unfinished_uploads`: how long a GET takes beside uploads that have not ended, beside nginx.
