//! Properties for every order of events: no write of Ebb's cuts off a reachable endpoint, and the final state is
//! right.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::tests::{Cluster, address, key, of_the_cluster, to_activators, with_sidecar};
use ebb_decide::{endpoints::Endpoints, zero::Path};

/// An event.
#[derive(Clone, Copy, Debug)]
enum Happening {
    /// The user requests Ebb, or no longer does.
    Asks(bool),
    /// The user applies the manifest again, without a webhook.
    Applies,
    /// A pod becomes ready, or there is none.
    Pod(bool),
    /// The autoscaler sends clients to the pod, or to activators.
    Serves(bool),
    /// Kubernetes' own controller reconciles.
    Follows,
    /// Ebb takes this many steps, with all waits between them.
    Steps(u8),
}

fn happening() -> impl Strategy<Value = Happening> {
    prop_oneof![
        any::<bool>().prop_map(Happening::Asks),
        Just(Happening::Applies),
        any::<bool>().prop_map(Happening::Pod),
        any::<bool>().prop_map(Happening::Serves),
        Just(Happening::Follows),
        (1..6_u8).prop_map(Happening::Steps),
    ]
}

struct Life {
    cluster: Cluster,
    has_pod: bool,
    asks: bool,
    serves: bool,
}

impl Life {
    fn new() -> Self {
        Self { cluster: Cluster::new(), has_pod: true, asks: true, serves: false }
    }

    fn happen(&mut self, happening: Happening) {
        match happening {
            Happening::Asks(asks) => {
                self.asks = asks;
                let target = if asks { json!("Deployment/hello") } else { Value::Null };
                self.cluster.annotate("ebb.dev/scale-target", target);
            }
            Happening::Applies => {
                self.cluster.service["spec"]["selector"] = json!({"app": "hello"});
                self.cluster.show_service();
            }
            Happening::Pod(there) => {
                self.has_pod = there;
                let pod = there.then(|| with_sidecar("10.1.0.1", true));
                self.cluster.world.pod("shop", "old", pod);
            }
            Happening::Serves(serves) => self.serves = serves,
            Happening::Follows => {
                if self.cluster.has_selector() {
                    self.cluster.show_slice(of_the_cluster(self.has_pod));
                }
            }
            Happening::Steps(count) => {
                for _ in 0..count {
                    self.decide();
                    let before = self.reachable();
                    match self.cluster.write_step() {
                        // A service without a pod that is given back can only be let go after a while.
                        None => assert!(
                            !before || self.reachable() || !(self.asks || self.has_pod),
                            "cut off after {:?}: {:?}",
                            self.cluster.log,
                            self.cluster.slices
                        ),
                        Some(rest) => {
                            self.cluster.now = self.cluster.now.after(rest.min(super::plan::NETWORK));
                        }
                    }
                }
            }
        }
    }

    /// Applies the decision of an autoscaler that knows the same pods.
    fn decide(&mut self) {
        let endpoints = if self.has_pod && self.serves {
            Endpoints { path: Path::Serve, addresses: vec![address("10.1.0.1:8012")] }
        } else {
            to_activators()
        };
        self.cluster.world.want(&key(), endpoints);
    }

    /// Returns whether a client reaches an endpoint: an activator, or the pod while it exists.
    fn reachable(&self) -> bool {
        let endpoints = self.cluster.slices.values().flat_map(|slice| &slice.endpoints);
        let mut addresses = endpoints.flat_map(|endpoint| &endpoint.addresses);
        addresses.any(|ip| ip != "10.1.0.1" || self.has_pod)
    }
}

proptest! {
    #[test]
    fn no_write_cuts_anybody_off_and_in_the_end_all_is_as_asked(
        happenings in prop::collection::vec(happening(), 0..40)
    ) {
        let mut life = Life::new();
        for happening in happenings {
            life.happen(happening);
        }
        for end in [Happening::Pod(true), Happening::Follows, Happening::Steps(200), Happening::Follows, Happening::Steps(200)] {
            life.happen(end);
        }
        let cluster = &life.cluster;
        prop_assert_eq!(cluster.has_selector(), !life.asks, "{:?}", cluster.log);
        prop_assert_eq!(cluster.has_slice_of_ebbs(), life.asks, "{:?}", cluster.log);
        let is_alone = cluster.slices.keys().all(|name| name.contains("-ebb-") == life.asks);
        prop_assert!(is_alone, "{:?} {:?}", cluster.slices.keys(), cluster.log);
    }
}
