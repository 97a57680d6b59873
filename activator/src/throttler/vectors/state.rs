use std::collections::HashMap;

use ebb_core::link::activator_index;

use super::*;

/// A throttler that is told which pods and activators there are, as by the table.
struct Told {
    throttler: Throttler<()>,
    known: HashMap<String, PodId>,
    next_pod: u64,
    activators: usize,
    index: Option<u32>,
}

impl Told {
    fn new(container_concurrency: u32) -> Self {
        let throttler = throttler(container_concurrency);
        Self { throttler, known: HashMap::new(), next_pod: 0, activators: 0, index: None }
    }

    fn hears_of_pods(&mut self, addresses: &[&str]) {
        self.known.retain(|address, id| {
            let stays = addresses.contains(&address.as_str());
            if !stays {
                self.throttler.remove_pod(*id);
            }
            stays
        });
        for address in addresses {
            if !self.known.contains_key(*address) {
                let id = PodId(self.next_pod);
                self.next_pod += 1;
                self.known.insert((*address).to_owned(), id);
                self.throttler.add_pod(id, address);
                self.throttler.pod_ready(id, NOW);
            }
        }
    }

    fn hears_of_activators(&mut self, addresses: &[&str], own: &str) {
        // An activator that is not among them is told nothing new.
        if let Some(index) = activator_index(addresses.iter().copied(), own) {
            (self.activators, self.index) = (addresses.len(), Some(index));
            let share = Share::new(u32::try_from(self.activators).unwrap(), index);
            self.throttler.set_limits(Limits { share, ..self.throttler.limits });
        }
    }
}

#[test]
fn vectors_throttler_state() {
    let vectors = vectors();
    let cases = vectors.rows("state");
    let (mut whole, mut in_part) = (0, 0);
    for case in cases {
        let (more, more_in_part) = compare(case);
        whole += more;
        in_part += more_in_part;
    }
    println!("{whole} states compared, {in_part} more without their pods: behind a cluster IP");
    assert_ne!(whole, 0);
}

/// Returns how many states were compared, and how many behind a cluster IP.
fn compare(case: &Value) -> (usize, usize) {
    let (mut whole, mut in_part) = (0, 0);
    let container_concurrency = number(&case["container_concurrency"]);
    let mut told = Told::new(container_concurrency);
    for (step, op) in list(&case["ops"]).iter().enumerate() {
        let state = list(op).last().unwrap();
        match op[0].as_str().unwrap() {
            // Behind a cluster IP the reference's pods stay as they were; Ebb does not know of any.
            "dests" if state["cluster_ip"] == true => {}
            "dests" => told.hears_of_pods(&texts(&op[1])),
            "activators" => told.hears_of_activators(&texts(&op[1]), case["self_ip"].as_str().unwrap()),
            other => panic!("{}: unknown operation {other}", case["name"]),
        }
        let at = format!("{}: step {step}, {op}", case["name"]);
        assert_eq!(Some(told.activators as u64), state["activators"].as_u64(), "{at}");
        assert_eq!(told.index, state["index"].as_u64().map(|_| number(&state["index"])), "{at}");
        let throttler = &told.throttler;
        let backends = number(&state["backends"]);
        if state["cluster_ip"] == true {
            let activators = u32::try_from(told.activators).unwrap();
            let capacity = if container_concurrency == 0 {
                Some(u64::from(backends.min(1)))
            } else {
                capacity_of_cluster_ip(container_concurrency, backends, activators)
            };
            assert_eq!(capacity, state["capacity"].as_u64(), "{at}");
            in_part += 1;
            continue;
        }
        assert_eq!(throttler.ready_pods(), backends as usize, "{at}");
        assert_eq!(Some(throttler.capacity()), state["capacity"].as_u64(), "{at}");
        let assigned: Vec<&str> = throttler.assigned().iter().map(|pod| &*pod.address).collect();
        assert_eq!(assigned, texts(&state["assigned"]), "{at}");
        let capacities = vec![throttler.limit().unwrap_or(1); assigned.len()];
        assert_eq!(capacities, numbers(&state["assigned_capacity"]), "{at}");
        whole += 1;
    }
    (whole, in_part)
}

#[test]
fn nobody_at_all_may_be_null_or_an_empty_list() {
    let nobody = json!({
        "capacity": 0, "activators": 0, "index": -1, "backends": 0, "cluster_ip": false,
        "assigned": null, "assigned_capacity": [],
    });
    let ops = json!([["dests", null, "", nobody], ["dests", [], "", nobody]]);
    let case = json!({"name": "forms", "container_concurrency": 5, "self_ip": "10.0.0.1", "ops": ops});
    assert_eq!(compare(&case), (2, 0));
}
