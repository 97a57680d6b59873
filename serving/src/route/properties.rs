//! Any sequence of changes ends in a Route that is ready exactly if its targets are.

use ebb_annotations::read_split;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::fixtures::{Cluster, condition};
use crate::conditions::READY;

const REVISIONS: [&str; 4] = ["hello-00001", "hello-00002", "hello-00003", "hello-00004"];
const STATES: [&str; 3] = ["True", "False", "Unknown"];

#[derive(Clone, Debug)]
enum Change {
    /// A Revision becomes ready, fails, or is not known.
    Revision(usize, usize),
    /// The latest ready Revision is another.
    Latest(usize),
    /// The user's targets: tag, Revision (or the latest), and the shares, of which the last gets the rest.
    Traffic(Vec<(Option<u8>, Option<usize>, u32)>),
    /// How long a rollout takes.
    Pace(u64),
    /// The engine refuses, or not.
    Refused(bool),
    /// Time passes.
    Engine,
    /// The Route is examined.
    Examine,
}

fn change() -> impl Strategy<Value = Change> {
    let target = (prop::option::of(0..3_u8), prop::option::of(0..REVISIONS.len()), 0..60_u32);
    prop_oneof![
        2 => (0..REVISIONS.len(), 0..STATES.len()).prop_map(|(index, state)| Change::Revision(index, state)),
        2 => (0..REVISIONS.len()).prop_map(Change::Latest),
        2 => prop::collection::vec(target, 1..4).prop_map(Change::Traffic),
        1 => (0..40_u64).prop_map(Change::Pace),
        1 => any::<bool>().prop_map(Change::Refused),
        2 => Just(Change::Engine),
        3 => Just(Change::Examine),
    ]
}

fn traffic(targets: &[(Option<u8>, Option<usize>, u32)]) -> Value {
    let (mut left, mut all) = (100_u32, Vec::new());
    for (index, (tag, revision, share)) in targets.iter().enumerate() {
        let part = if index + 1 == targets.len() { left } else { left.min(*share) };
        left -= part;
        // Tags are unique.
        let tag = tag.map(|tag| format!("t{index}{tag}"));
        all.push(match revision {
            Some(revision) => json!({ "tag": tag, "revisionName": REVISIONS[*revision], "percent": part }),
            None => json!({ "tag": tag, "configurationName": "hello", "percent": part }),
        });
    }
    Value::Array(all)
}

/// What a test knows of a cluster beside it.
struct Model {
    states: [usize; REVISIONS.len()],
    latest: usize,
    targets: Vec<(Option<u8>, Option<usize>, u32)>,
    refused: bool,
}

impl Model {
    fn is_ready(&self) -> bool {
        let mut revisions = self.targets.iter().map(|(_, revision, _)| revision.unwrap_or(self.latest));
        !self.refused && revisions.all(|index| STATES[self.states[index]] == "True")
    }

    fn make(&mut self, cluster: &mut Cluster, change: Change) {
        match change {
            Change::Revision(index, state) => {
                self.states[index] = state;
                cluster.revision("hello", REVISIONS[index], STATES[state]);
            }
            Change::Latest(index) => {
                self.latest = index;
                cluster.configuration("hello", REVISIONS[index], Some(REVISIONS[index]), "True");
            }
            Change::Traffic(targets) => {
                cluster.route(&traffic(&targets));
                self.targets = targets;
            }
            Change::Pace(seconds) => cluster.roll_out_over(seconds),
            Change::Refused(refused) => {
                self.refused = refused;
                if refused {
                    cluster.refused.insert("hello".to_owned(), "no".to_owned());
                } else {
                    cluster.refused.clear();
                }
            }
            Change::Engine => {
                cluster.engine();
            }
            Change::Examine => {
                cluster.examine();
            }
        }
    }
}

/// Whatever is said, all shares are 100 together, and so are those of the Service.
fn adds_up(cluster: &Cluster) -> Result<(), TestCaseError> {
    let traffic = cluster.status().traffic;
    if !traffic.is_empty() {
        let sum: i64 = traffic.iter().filter_map(|target| target.percent).sum();
        prop_assert_eq!(sum, 100, "{:?}", traffic);
    }
    if let Some(split) = cluster.split("hello") {
        let split = read_split(split);
        prop_assert!(split.is_some());
        prop_assert_eq!(split.iter().flatten().map(|share| share.weight).sum::<u32>(), 100);
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, ..ProptestConfig::default() })]

    #[test]
    fn any_changes_end_in_a_route_that_is_ready_exactly_if_its_targets_are(
        changes in prop::collection::vec(change(), 0..25)
    ) {
        let mut cluster = Cluster::new();
        let mut model = Model {
            states: [0; REVISIONS.len()], latest: 0, targets: vec![(None, None, 0)], refused: false,
        };
        for revision in REVISIONS {
            cluster.revision("hello", revision, "True");
        }
        cluster.configuration("hello", REVISIONS[0], Some(REVISIONS[0]), "True");
        cluster.route(&traffic(&model.targets));
        for change in changes {
            model.make(&mut cluster, change);
            adds_up(&cluster)?;
        }
        let last = cluster.settle();
        adds_up(&cluster)?;
        let ready = condition(&last.status.observed.conditions, READY);
        prop_assert_eq!(ready == "True", model.is_ready(), "{}", ready);
        if ready == "True" {
            for target in &cluster.status().traffic {
                let revision = target.revision_name.clone().unwrap_or_default();
                let (_, state) = cluster.labels(&revision);
                prop_assert_eq!(state, "active");
            }
            prop_assert_eq!(last.status.traffic.len() <= model.targets.len(), true);
        }
    }
}
