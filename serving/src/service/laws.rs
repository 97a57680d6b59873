use proptest::prelude::*;
use serde_json::{Value, json};

use super::{
    cluster::{Cluster, NAME, NAMESPACE},
    examine,
    tests::{ksvc, named, run, template, words},
};
use crate::outcome::Kind;

/// What may happen, in any order.
#[derive(Clone, Debug)]
enum Step {
    /// The user writes another image.
    Image(u8),
    /// The user names the revision after its image.
    Named(u8),
    /// The user writes a label.
    Label(u8),
    /// The user sends all requests to the first revision there is, or to the latest.
    Pin(bool),
    /// The user deletes a revision.
    Delete(usize),
    /// A revision judges itself.
    Judge(usize, &'static str),
    /// The Route does what it can.
    Route,
    /// One change is seen.
    Deliver(usize),
    ExamineService,
    ExamineConfiguration,
}

impl Step {
    fn is_of_template(&self) -> bool {
        matches!(self, Self::Image(_) | Self::Named(_))
    }

    fn run(&self, cluster: &mut Cluster) {
        let revisions = cluster.names(Kind::Revision);
        let revision = |which: usize| revisions.get(which % revisions.len().max(1));
        match self {
            Self::Image(image) => change(cluster, &json!({"template": template(&format!("app:{image}"))})),
            Self::Named(image) => {
                change(
                    cluster,
                    &json!({"template": named(&format!("hello-v{image}"), &format!("app:{image}"))}),
                );
            }
            Self::Label(label) => {
                let labels = json!({"metadata": {"labels": {"label": label.to_string()}}});
                assert!(cluster.change(Kind::Service, NAME, &labels));
            }
            Self::Pin(false) => {
                change(cluster, &json!({"traffic": [{"latestRevision": true, "percent": 100}]}));
            }
            Self::Pin(true) => {
                if let Some(revision) = revision(0) {
                    change(cluster, &json!({"traffic": [{"revisionName": revision, "percent": 100}]}));
                }
            }
            Self::Delete(which) => {
                if let Some(revision) = revision(*which) {
                    cluster.delete(Kind::Revision, revision);
                }
            }
            Self::Judge(which, truth) => {
                if let Some(revision) = revision(*which) {
                    cluster.judge(revision, truth);
                }
            }
            Self::Route => cluster.route(),
            Self::Deliver(which) => {
                cluster.deliver(*which);
            }
            Self::ExamineService => {
                cluster.examine_service();
            }
            Self::ExamineConfiguration => {
                cluster.examine_configuration();
            }
        }
    }
}

/// Changes the ksvc's spec. A template or traffic replaces the one before.
fn change(cluster: &mut Cluster, spec: &Value) {
    let mut service = cluster.get(Kind::Service, NAME).unwrap().clone();
    for (key, value) in spec.as_object().unwrap() {
        service["spec"][key] = value.clone();
    }
    assert!(cluster.replace(Kind::Service, service));
}

fn user_steps() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => (0..4_u8).prop_map(Step::Image),
        2 => (0..3_u8).prop_map(Step::Named),
        1 => (0..3_u8).prop_map(Step::Label),
        1 => any::<bool>().prop_map(Step::Pin),
    ]
}

fn steps() -> impl Strategy<Value = Step> {
    let truth = prop_oneof![Just("True"), Just("False"), Just("Unknown")];
    prop_oneof![
        2 => user_steps(),
        1 => any::<usize>().prop_map(Step::Delete),
        4 => (any::<usize>(), truth).prop_map(|(which, truth)| Step::Judge(which, truth)),
        2 => Just(Step::Route),
        10 => any::<usize>().prop_map(Step::Deliver),
        4 => Just(Step::ExamineService),
        4 => Just(Step::ExamineConfiguration),
    ]
}

/// Checks that a ksvc which says that it is ready has children with its present spec.
fn check_ready(cluster: &Cluster) -> Result<(), TestCaseError> {
    let service = cluster.get(Kind::Service, NAME).unwrap();
    let is_present = service["status"]["observedGeneration"] == service["metadata"]["generation"];
    if !is_present || !words(cluster).contains(&"Ready=True".to_owned()) {
        return Ok(());
    }
    let configuration = cluster.get(Kind::Configuration, NAME).unwrap();
    prop_assert_eq!(&configuration["spec"]["template"], &service["spec"]["template"]);
    let latest = service["status"]["latestReadyRevisionName"].as_str().unwrap();
    prop_assert_eq!(&service["status"]["latestCreatedRevisionName"], latest);
    if let Some(revision) = cluster.get(Kind::Revision, latest) {
        prop_assert_eq!(&revision["spec"], &service["spec"]["template"]["spec"]);
    }
    let route = cluster.get(Kind::Route, NAME).unwrap();
    prop_assert_eq!(route["spec"]["traffic"].as_array().unwrap().len(), 1);
    let wanted = &service["spec"]["traffic"][0]["revisionName"];
    prop_assert_eq!(&route["spec"]["traffic"][0]["revisionName"], wanted);
    Ok(())
}

/// Checks that nothing follows any more, however often it is examined.
fn check_fixed(cluster: &Cluster) -> Result<(), TestCaseError> {
    let later = cluster.now() + jiff::SignedDuration::from_hours(1);
    let service = cluster.seen.services.get(NAMESPACE, NAME).unwrap();
    let outcome = examine(service, &cluster.seen, later);
    prop_assert_eq!((&outcome.writes, &outcome.events), (&vec![], &vec![]));
    prop_assert_eq!(Some(&outcome.status), service.status.as_ref());
    let configuration = cluster.seen.configurations.get(NAMESPACE, NAME).unwrap();
    let outcome = crate::configuration::examine(configuration, &cluster.seen, None, later);
    prop_assert_eq!((&outcome.writes, &outcome.events), (&vec![], &vec![]));
    prop_assert_eq!(Some(&outcome.status), configuration.status.as_ref());
    Ok(())
}

proptest! {
    // Each case is a small cluster, so there are fewer than usual.
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn whatever_happens_in_whatever_order_ends_where_nothing_follows(
        steps in prop::collection::vec(steps(), 0..60),
    ) {
        let mut cluster = Cluster::default();
        prop_assert!(cluster.create(Kind::Service, ksvc(&template("app:0"))));
        for step in &steps {
            step.run(&mut cluster);
            if cluster.get(Kind::Service, NAME).unwrap()["status"]["conditions"].is_array() {
                check_ready(&cluster)?;
            }
        }
        // A pin may name a revision that was deleted since.
        change(&mut cluster, &json!({"traffic": [{"latestRevision": true, "percent": 100}]}));
        cluster.settle();
        check_fixed(&cluster)?;
        check_ready(&cluster)?;
        prop_assert_eq!(words(&cluster), ["ConfigurationsReady=True", "Ready=True", "RoutesReady=True"]);
        let changes = steps.iter().filter(|step| step.is_of_template()).count();
        let generation = cluster.get(Kind::Configuration, NAME).unwrap()["metadata"]["generation"].as_u64();
        prop_assert!(generation.unwrap() <= 1 + changes as u64, "{:?} of {} changes", generation, changes);
    }

    #[test]
    fn one_change_of_a_user_is_one_generation_and_one_revision(
        steps in prop::collection::vec(user_steps(), 0..12),
    ) {
        let mut cluster = run(&template("app:0"));
        for step in steps {
            let of = |cluster: &Cluster, kind| cluster.get(kind, NAME).unwrap().clone();
            let before = (of(&cluster, Kind::Service), of(&cluster, Kind::Configuration), cluster.revisions);
            step.run(&mut cluster);
            let template = &of(&cluster, Kind::Service)["spec"]["template"];
            let is_other = *template != before.0["spec"]["template"];
            let name = template["metadata"]["name"].as_str().unwrap_or_default();
            let is_new = is_other && cluster.get(Kind::Revision, name).is_none();
            cluster.settle();
            check_fixed(&cluster)?;
            let generation = |object: &Value| object["metadata"]["generation"].as_i64().unwrap();
            let after = of(&cluster, Kind::Configuration);
            prop_assert_eq!(generation(&after) - generation(&before.1), i64::from(is_other));
            prop_assert_eq!(cluster.revisions - before.2, usize::from(is_new));
            let latest = after["status"]["latestCreatedRevisionName"].as_str().unwrap();
            if is_new {
                let labels = &cluster.get(Kind::Revision, latest).unwrap()["metadata"]["labels"];
                let label = &labels["serving.knative.dev/configurationGeneration"];
                prop_assert_eq!(label, &json!(generation(&after).to_string()));
            }
        }
    }

    #[test]
    fn the_order_in_which_one_change_is_seen_does_not_matter(
        steps in prop::collection::vec(
            prop_oneof![
                4 => any::<usize>().prop_map(Step::Deliver),
                1 => Just(Step::ExamineService),
                1 => Just(Step::ExamineConfiguration),
                1 => Just(Step::Route),
                1 => any::<usize>().prop_map(|which| Step::Judge(which, "True")),
            ],
            0..60,
        ),
        is_named in any::<bool>(),
    ) {
        let template = if is_named { named("hello-v1", "app:1") } else { template("app:1") };
        let timeless = |cluster: &Cluster, kind| {
            let mut status = cluster.get(kind, NAME).unwrap()["status"].clone();
            for condition in status["conditions"].as_array_mut().unwrap() {
                condition.as_object_mut().unwrap().remove("lastTransitionTime");
            }
            status
        };
        let mut cluster = run(&json!({"spec": {"containers": [{"image": "app:0"}]}}));
        change(&mut cluster, &json!({"template": template}));
        let mut straight = cluster.clone();
        straight.settle();
        for step in steps {
            step.run(&mut cluster);
            check_ready(&cluster)?;
        }
        cluster.settle();
        for kind in [Kind::Service, Kind::Configuration] {
            prop_assert_eq!(timeless(&cluster, kind), timeless(&straight, kind));
        }
        prop_assert_eq!(cluster.names(Kind::Revision), straight.names(Kind::Revision));
    }
}
