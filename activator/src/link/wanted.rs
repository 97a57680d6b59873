use std::net::SocketAddr;

/// The most autoscalers to which streams are kept.
pub(super) const MOST_REPLICAS: usize = 16;

/// Returns the addresses to which streams should be kept, if streams to `open` are open.
///
/// There is one to each of the `replicas` that are known. The `seed` leads to any one of them, and is how
/// they become known; it is used while no other stream is open. Once open, it stays until all others are,
/// because the autoscaler behind it is unknown and must not see its activator gone for a moment.
pub(super) fn wanted(seed: SocketAddr, replicas: &[SocketAddr], open: &[SocketAddr]) -> Vec<SocketAddr> {
    let mut wanted: Vec<SocketAddr> = Vec::with_capacity(replicas.len().min(MOST_REPLICAS) + 1);
    for replica in replicas {
        if wanted.len() < MOST_REPLICAS && !wanted.contains(replica) {
            wanted.push(*replica);
        }
    }
    let missing = wanted.iter().filter(|replica| !open.contains(replica)).count();
    let is_needed = missing == wanted.len() || (missing > 0 && open.contains(&seed));
    if is_needed && !wanted.contains(&seed) {
        wanted.push(seed);
    }
    wanted
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(n: u16) -> SocketAddr {
        SocketAddr::from(([10, 0, 0, 1], n))
    }

    fn all(numbers: &[u16]) -> Vec<SocketAddr> {
        numbers.iter().map(|n| at(*n)).collect()
    }

    #[test]
    fn there_is_a_stream_to_each_replica_and_the_seed_helps_out() {
        const SEED: u16 = 9;
        for (replicas, open, want) in [
            // The replicas are not known: a single machine, or the beginning.
            (&[][..], &[][..], &[SEED][..]),
            (&[], &[SEED], &[SEED]),
            // They have just become known.
            (&[1, 2], &[SEED], &[1, 2, SEED]),
            // The seed may lead to 2.
            (&[1, 2], &[1, SEED], &[1, 2, SEED]),
            (&[1, 2], &[1, 2, SEED], &[1, 2]),
            (&[1, 2], &[1, 2], &[1, 2]),
            // One went away: the others name its successor.
            (&[1, 2], &[2], &[1, 2]),
            // All went away.
            (&[1, 2], &[], &[1, 2, SEED]),
            // All were replaced; streams to the old ones do not count.
            (&[3, 4], &[1, 2], &[3, 4, SEED]),
            (&[3, 4], &[1, 2, 3], &[3, 4]),
            // The seed is one of them.
            (&[SEED, 1], &[1], &[SEED, 1]),
            (&[SEED, 1], &[], &[SEED, 1]),
            (&[1, 1, 1], &[1], &[1]),
        ] {
            assert_eq!(wanted(at(SEED), &all(replicas), &all(open)), all(want), "{replicas:?}, {open:?}");
        }
    }

    #[test]
    fn there_are_no_more_streams_than_the_bound_and_the_seed() {
        let many: Vec<SocketAddr> = (1..1000).map(at).collect();
        assert_eq!(wanted(at(0), &many, &[]).len(), MOST_REPLICAS + 1);
        assert_eq!(wanted(at(0), &many, &many).len(), MOST_REPLICAS);
    }
}
