//! Why the pods of a Revision do not run.

use crate::seen::{Container, Ended, Pod};

/// The container that Ebb adds. It runs as long as the pod does, so only its start is of interest.
const QUEUE_PROXY: &str = "queue-proxy";
/// What a container waits for in every pod.
const USUAL: [&str; 3] = ["", "ContainerCreating", "PodInitializing"];

/// A reason in one word, and in words.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Cause {
    /// In one word.
    pub(super) reason: String,
    /// In words.
    pub(super) message: String,
}

/// What keeps pods from running, each from the newest pod that has it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Causes {
    /// A container ended although it should run.
    pub(super) exited: Option<Cause>,
    /// A pod has no node.
    pub(super) unscheduled: Option<Cause>,
    /// A container cannot be started.
    pub(super) waiting: Option<Cause>,
}

impl Causes {
    /// Finds the causes among the pods of one Revision. Pods that are being deleted have none.
    pub(super) fn of<'a>(pods: impl Iterator<Item = &'a Pod>) -> Self {
        let mut pods: Vec<&Pod> = pods.filter(|pod| !pod.is_leaving).collect();
        pods.sort_by_key(|pod| std::cmp::Reverse(pod.created));
        Self {
            exited: pods.iter().find_map(|pod| exited(pod)),
            unscheduled: pods.iter().find_map(|pod| unscheduled(pod)),
            waiting: pods.iter().find_map(|pod| waiting(pod)),
        }
    }
}

fn unscheduled(pod: &Pod) -> Option<Cause> {
    let (reason, message) = pod.unscheduled.clone()?;
    let reason = if reason.is_empty() { "Unschedulable".to_owned() } else { reason };
    Some(Cause { reason, message })
}

fn waiting(pod: &Pod) -> Option<Cause> {
    let all = pod.init_containers.iter().chain(&pod.containers);
    let waiting = all.filter_map(|container| container.waiting.as_ref());
    let waiting = waiting.into_iter().find(|waiting| !USUAL.contains(&waiting.reason.as_str()))?;
    Some(Cause { reason: waiting.reason.clone(), message: waiting.message.clone() })
}

fn exited(pod: &Pod) -> Option<Cause> {
    let before = pod.init_containers.iter().filter_map(|container| {
        // An init container is meant to end.
        let ended = broken(container).filter(|ended| ended.code != 0)?;
        Some(cause(ended, &format!("Init container {:?}", container.name)))
    });
    let containers = pod.containers.iter().filter(|container| container.name != QUEUE_PROXY);
    let after = containers.filter_map(|container| Some(cause(broken(container)?, "Container")));
    before.chain(after).next()
}

/// Returns how the container ended, unless it is up again.
fn broken(container: &Container) -> Option<&Ended> {
    container.ended.as_ref().filter(|_| !container.is_ready)
}

fn cause(ended: &Ended, who: &str) -> Cause {
    Cause {
        reason: format!("ExitCode{}", ended.code),
        message: format!("{who} failed with: {}", last_words(ended)),
    }
}

/// Returns what the container wrote last, and what its exit code does not tell.
fn last_words(ended: &Ended) -> String {
    // The kubelet gives every end that is not special one of these.
    let special = Some(ended.reason.as_str()).filter(|reason| !["", "Error", "Completed"].contains(reason));
    match (ended.message.is_empty(), special) {
        (false, None) => ended.message.clone(),
        (false, Some(special)) => format!("{} ({special})", ended.message),
        (true, None) if ended.code == 0 => "container exited with no error".to_owned(),
        (true, special) => {
            let signal = ended.signal.filter(|signal| *signal != 0).map(|signal| format!("signal {signal}"));
            let facts = [Some(format!("exit code {}", ended.code)), signal, special.map(str::to_owned)];
            facts.into_iter().flatten().collect::<Vec<_>>().join(", ")
        }
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::seen::Waiting;

    fn ended(code: i32, signal: Option<i32>, reason: &str, message: &str) -> Ended {
        Ended { code, signal, reason: reason.to_owned(), message: message.to_owned() }
    }

    fn container(name: &str, ended: Option<Ended>) -> Container {
        Container { name: name.to_owned(), ended, ..Container::default() }
    }

    fn stuck(reason: &str) -> Container {
        let waiting = Waiting { reason: reason.to_owned(), message: format!("{reason}!") };
        Container { waiting: Some(waiting), ..Container::default() }
    }

    fn pod(second: i64, init_containers: Vec<Container>, containers: Vec<Container>) -> Pod {
        let created = Timestamp::from_second(second).ok();
        Pod { created, init_containers, containers, ..Pod::default() }
    }

    fn said(cause: Option<Cause>) -> String {
        cause.map(|cause| format!("{}: {}", cause.reason, cause.message)).unwrap_or_default()
    }

    #[test]
    fn the_end_of_a_container_is_told_as_far_as_it_is_known() {
        for (end, expected) in [
            (ended(1, None, "Error", "no database"), "ExitCode1: Container failed with: no database"),
            (
                ended(0, None, "Completed", ""),
                "ExitCode0: Container failed with: container exited with no error",
            ),
            (ended(0, None, "Completed", "bye"), "ExitCode0: Container failed with: bye"),
            (ended(3, None, "Error", ""), "ExitCode3: Container failed with: exit code 3"),
            (
                ended(137, Some(0), "OOMKilled", ""),
                "ExitCode137: Container failed with: exit code 137, OOMKilled",
            ),
            (ended(137, Some(9), "Error", ""), "ExitCode137: Container failed with: exit code 137, signal 9"),
            (
                ended(137, None, "OOMKilled", "100 %s"),
                "ExitCode137: Container failed with: 100 %s (OOMKilled)",
            ),
        ] {
            let pods = [pod(0, vec![], vec![container("user-container", Some(end.clone()))])];
            assert_eq!(said(Causes::of(pods.iter()).exited), expected, "{end:?}");
        }
    }

    #[test]
    fn only_ends_that_matter_count() {
        let failed = || Some(ended(1, None, "Error", "x"));
        let done = || Some(ended(0, None, "Completed", ""));
        let up = Container { is_ready: true, ..container("user-container", failed()) };
        for (init, containers, expected) in [
            (vec![container("init", done())], vec![], ""),
            (vec![container("init", failed())], vec![], "ExitCode1: Init container \"init\" failed with: x"),
            (vec![], vec![container(QUEUE_PROXY, failed())], ""),
            (vec![], vec![up], ""),
            (
                vec![],
                vec![container("a", None), container("b", failed())],
                "ExitCode1: Container failed with: x",
            ),
        ] {
            assert_eq!(said(Causes::of([pod(0, init, containers)].iter()).exited), expected);
        }
    }

    #[test]
    fn the_newest_pod_with_a_cause_tells_it() {
        let end = |text: &str| vec![container("user-container", Some(ended(1, None, "", text)))];
        let mut leaving = pod(9, vec![], end("leaving"));
        leaving.is_leaving = true;
        let mut homeless = pod(5, vec![], vec![]);
        homeless.unscheduled = Some((String::new(), "0/1 nodes are available".to_owned()));
        let pods = [
            pod(1, vec![], end("oldest")),
            leaving,
            pod(3, vec![], end("newest")),
            homeless,
            pod(8, vec![], vec![stuck("ContainerCreating")]),
            pod(7, vec![stuck("PodInitializing")], vec![stuck("ImagePullBackOff")]),
            pod(6, vec![], vec![stuck("ErrImagePull")]),
        ];
        let causes = Causes::of(pods.iter());
        assert_eq!(said(causes.exited), "ExitCode1: Container failed with: newest");
        assert_eq!(said(causes.unscheduled), "Unschedulable: 0/1 nodes are available");
        assert_eq!(said(causes.waiting), "ImagePullBackOff: ImagePullBackOff!");
    }
}
