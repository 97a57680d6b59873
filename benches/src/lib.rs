//! Benches, in `benches/`. Each prints what it measures and what it compares with.
//!
//! - `decider`: the pure parts: record, average, one decision.
//! - `cold_start`: cold starts on this machine, phase by phase.
//! - `routes`: the cost of a route to an activator, and how exactly it splits requests.
//! - `proxy_cpu`: the cost of a request in the queue-proxy, compared with nginx.
//! - `unfinished_uploads`: the latency of a GET beside unfinished uploads, compared with nginx.
