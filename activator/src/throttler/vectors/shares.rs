use super::*;

#[test]
fn vectors_throttler_pick_indices() {
    let vectors = vectors();
    let rows = vectors.rows("pick_indices");
    for row in rows {
        let [trackers, index, activators, begin, end, remnants] = numbers(row)[..] else { panic!("{row}") };
        let part_of = |index| Share::new(activators, index).part_of(trackers);
        assert_eq!((part_of(index).begin, part_of(index).end), (begin, end), "{row}");
        // Each activator knows only its own of the pods that remain.
        let extras = (0..activators).filter_map(|index| part_of(index).extra);
        assert!(extras.eq(trackers - remnants..trackers), "{row}");
    }
    println!("{} parts compared", rows.len());
}

#[test]
fn vectors_throttler_assign_slice() {
    let vectors = vectors();
    let rows = vectors.rows("assign_slice");
    for row in rows {
        let share = match integer(&row[1]) {
            -1 => Share::ALONE, // the reference's mark for an activator that does not know its place
            _ => Share::new(number(&row[2]), number(&row[1])),
        };
        let mut throttler = with_ready_pods(1, number(&row[0]));
        throttler.set_limits(Limits { share, ..throttler.limits });
        let ids: Vec<u64> = throttler.assigned().iter().map(|pod| pod.id.0).collect();
        let wanted: Vec<u64> = numbers(&row[3]).into_iter().map(u64::from).collect();
        assert_eq!(ids, wanted, "{row}");
    }
    println!("{} parts compared", rows.len());
}

#[test]
fn vectors_throttler_calculate_capacity() {
    let vectors = vectors();
    let rows = vectors.rows("calculate_capacity");
    // The reference counts in signed 32 bits; this value stands for unlimited.
    let max_capacity = vectors.value("max_capacity").as_u64().unwrap();
    let mut left_out = 0;
    for row in rows {
        let [limit, backends, trackers, activators] = [0, 1, 2, 3].map(|column| number(&row[column]));
        let capacity = if limit == 0 {
            // There is no number to compute: it is open if there is a pod.
            Some(with_ready_pods(0, backends).capacity() * max_capacity)
        } else if trackers > 0 {
            Some(with_ready_pods(limit, trackers).capacity())
        } else {
            capacity_of_cluster_ip(limit, backends, activators)
        };
        let Some(capacity) = capacity else {
            left_out += 1;
            continue;
        };
        let capacity = if backends > 0 { capacity.min(max_capacity) } else { capacity };
        assert_eq!(Some(capacity), row[4].as_u64(), "{row}");
    }
    println!("{} capacities compared, {left_out} left out: beyond 32 bits", rows.len() - left_out);
}

/// The reference avoids dividing by zero activators this way; in Ebb there is always one.
#[test]
fn vectors_throttler_min_one_or_value() {
    let vectors = vectors();
    let rows = vectors.rows("min_one_or_value");
    let mut compared = 0;
    for row in rows.iter().filter(|row| row[0].as_u64().is_some()) {
        // One pod for each activator.
        assert_eq!(Share::new(number(&row[0]), 0).part_of(number(&row[1])).pods(), 1, "{row}");
        compared += 1;
    }
    println!("{compared} numbers compared, {} left out: negative", rows.len() - compared);
}

/// The reference computes its gate for services without a limit this way; in Ebb it is whether a pod is
/// ready.
#[test]
fn vectors_throttler_zero_or_one() {
    let vectors = vectors();
    let rows = vectors.rows("zero_or_one");
    let mut compared = 0;
    for row in rows.iter().filter(|row| row[0].as_u64().is_some()) {
        // A hundred pods are as open as a million.
        let throttler = with_ready_pods(0, number(&row[0]).min(100));
        assert_eq!(Some(throttler.capacity()), row[1].as_u64(), "{row}");
        compared += 1;
    }
    println!("{compared} numbers compared, {} left out: negative", rows.len() - compared);
}
