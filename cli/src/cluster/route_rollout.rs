//! `ebb rollout`: shows how far a route's rollout is, and pauses, resumes or undoes it.
//!
//! Changes are made by one or two annotations, with the rights of the user: there is no other way to control
//! a rollout.

use std::process::ExitCode;

use anyhow::bail;
use clap::Args as ClapArgs;
use ebb_annotations::{GoDuration, RouteSpec, keys, parse_route, split_text};
use ebb_core::ServiceKey;
use ebb_decide::route::rollout::Progress;
use k8s_openapi::api::core::v1::Service;
use kube::{
    Api, ResourceExt,
    api::{Patch, PatchParams},
};
use serde_json::{Value, json};

use super::{
    Cluster, Connection, FIELD_MANAGER, Failure,
    bound::{annotation, is_route},
    check::{installed_in, running},
    explain,
};
use crate::rollout_lines;

/// How often a change is tried, because another client may write the Service at the same time.
const TRIES: usize = 5;

const HELP: &str = "\
A route whose Service has ebb.dev/split-duration reaches a changed ebb.dev/split step by step. --pause and --resume write and \
remove ebb.dev/rollout-paused; --undo writes ebb.dev/split as it was before, which takes effect at once. Where a GitOps tool \
writes ebb.dev/split, undo it in the repository instead.";

/// `ebb rollout ROUTE [-n NAMESPACE] [--pause | --resume | --undo | --json]`
#[derive(ClapArgs, Debug)]
#[command(after_help = HELP)]
pub(crate) struct Args {
    /// The route: its Service's name, or NAMESPACE/NAME
    route: String,
    #[command(flatten)]
    wish: Wish,
    /// Everything that is known, as JSON
    #[arg(long, conflicts_with = "wish")]
    json: bool,
    /// The Service's namespace [default: that of the context]
    #[arg(short, long, value_name = "NAMESPACE")]
    namespace: Option<String>,
    #[command(flatten)]
    connection: Connection,
}

/// At most one.
#[derive(ClapArgs, Clone, Copy, Debug)]
#[group(id = "wish", multiple = false)]
struct Wish {
    /// Stay where it is
    #[arg(long)]
    pause: bool,
    /// Go on
    #[arg(long)]
    resume: bool,
    /// Go back to the split from before the rollout, at once
    #[arg(long)]
    undo: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Action {
    Pause,
    Resume,
    Undo,
}

/// What to do about a Service: the annotations to change, and the message for it.
#[derive(Debug, PartialEq)]
struct Change {
    /// By key; `null` removes one. If empty, nothing changes.
    annotations: Value,
    said: String,
}

impl Wish {
    fn action(self) -> Option<Action> {
        let all = [(self.pause, Action::Pause), (self.resume, Action::Resume), (self.undo, Action::Undo)];
        all.into_iter().find_map(|(is_wanted, action)| is_wanted.then_some(action))
    }
}

/// Shows or changes the rollout of a route.
pub(crate) async fn rollout(args: &Args) -> anyhow::Result<ExitCode> {
    let cluster = args.connection.open().await?;
    let key = explain::key(&args.route, args.namespace.as_deref(), &cluster.namespace)?;
    if !args.json {
        println!("{cluster}, namespace {}", key.namespace);
    }
    match args.wish.action() {
        Some(action) => println!("{key}: {}", act(&cluster, &key, action).await?),
        None => show(&cluster, &key, args.json).await?,
    }
    Ok(ExitCode::SUCCESS)
}

/// Returns the route and its spec.
async fn read(cluster: &Cluster, key: &ServiceKey) -> anyhow::Result<(Service, RouteSpec)> {
    let services: Api<Service> = cluster.within(&key.namespace);
    let Some(service) = cluster.find(format!("reading Service {key}"), services.get(&key.name)).await? else {
        bail!(
            "there is no Service {} in namespace {} of {cluster} (another one: -n NAMESPACE)",
            key.name,
            key.namespace
        );
    };
    if !is_route(&service) {
        bail!("Service {key} is no route: it has no annotation {}", keys::SPLIT.name);
    }
    match parse_route(&key.name, service.annotations()) {
        Ok(parsed) => Ok((service, parsed.spec)),
        Err(faults) => {
            let faults: Vec<String> = faults.iter().map(ToString::to_string).collect();
            bail!("Service {key} is refused: {}", faults.join("; "))
        }
    }
}

/// Performs the action, and returns the message for it.
async fn act(cluster: &Cluster, key: &ServiceKey, action: Action) -> anyhow::Result<String> {
    let services: Api<Service> = cluster.within(&key.namespace);
    let params = PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() };
    let mut conflict = None;
    for _ in 0..TRIES {
        let (service, spec) = read(cluster, key).await?;
        let Change { annotations, said } = change(action, &spec, progress(&service).as_ref())?;
        if annotations.as_object().is_none_or(serde_json::Map::is_empty) {
            return Ok(said);
        }
        // Only for the version that was read: its split may have changed since.
        let metadata = json!({ "resourceVersion": service.resource_version(), "annotations": annotations });
        let patch = Patch::Merge(json!({ "metadata": metadata }));
        let patching = services.patch(&key.name, &params, &patch);
        match cluster.call(format!("changing Service {key}"), patching).await {
            Ok(_) => return Ok(said),
            Err(failure) if failure.is_conflict() => conflict = Some(failure),
            Err(failure) => return Err(failure.into()),
        }
    }
    bail!("{}", conflict.map_or_else(String::new, |failure| failure.to_string()))
}

/// Returns the rollout's progress, as Ebb wrote it down.
fn progress(service: &Service) -> Option<Progress> {
    annotation(service, keys::ROLLOUT.name).and_then(Progress::read)
}

/// Returns the change for `action` on a route with `spec`.
fn change(action: Action, spec: &RouteSpec, progress: Option<&Progress>) -> anyhow::Result<Change> {
    let way = progress.and_then(|progress| progress.under_way.as_ref());
    let paused = keys::ROLLOUT_PAUSED.name;
    let (annotations, said) = match action {
        Action::Pause if spec.split_duration.is_none() => bail!(
            "there is nothing to pause: without {} a changed split takes effect at once",
            keys::SPLIT_DURATION.name
        ),
        Action::Pause if spec.rollout_paused => (json!({}), "paused already".to_owned()),
        Action::Pause => {
            let said = match way {
                Some(way) => format!("paused at {:.1} %", f64::from(way.done) / 10.0),
                None => "no rollout is under way; the next one will begin with --resume".to_owned(),
            };
            (json!({ paused: "true" }), said)
        }
        Action::Resume if !spec.rollout_paused => (json!({}), "not paused".to_owned()),
        Action::Resume => (json!({ paused: null }), "resumed".to_owned()),
        Action::Undo => {
            let Some(way) = way else {
                bail!("no rollout is under way; to have another split, write {}", keys::SPLIT.name)
            };
            let before = split_text(&way.before);
            let said = format!("undone: the split is {before} again, at once");
            // The pause belonged to this rollout.
            (json!({ keys::SPLIT.name: before, paused: null }), said)
        }
    };
    Ok(Change { annotations, said })
}

/// Prints the progress.
async fn show(cluster: &Cluster, key: &ServiceKey, as_json: bool) -> anyhow::Result<()> {
    let (service, spec) = read(cluster, key).await?;
    let own = installed_in(cluster).await;
    let asked = running::ask_leader(cluster, &own, &format!("/explain/{key}")).await;
    let answer = asked.as_ref().ok().and_then(|text| serde_json::from_str::<Value>(text).ok());
    if as_json {
        println!("{:#}", document(key, &service, &spec, answer.as_ref()));
        return Ok(());
    }
    for line in lines(key, &service, &spec, answer.as_ref(), asked.as_ref().err()) {
        println!("{line}");
    }
    Ok(())
}

/// Formats for programs: the route's spec, the progress written down, and the autoscaler's answer.
fn document(key: &ServiceKey, service: &Service, spec: &RouteSpec, answer: Option<&Value>) -> Value {
    json!({
        "route": key.to_string(),
        "split": split_text(&spec.split),
        "split_duration_seconds": spec.split_duration.map(|duration| duration.as_secs_f64()),
        "paused": spec.rollout_paused,
        "written": annotation(service, keys::ROLLOUT.name),
        "status": annotation(service, keys::STATUS.name),
        "autoscaler": answer,
    })
}

/// Formats the autoscaler's `answer`, or else what was written down.
fn lines(
    key: &ServiceKey,
    service: &Service,
    spec: &RouteSpec,
    answer: Option<&Value>,
    failure: Option<&Failure>,
) -> Vec<String> {
    let mut lines = match (answer, failure) {
        (Some(answer), _) => crate::explain::lines(answer, 0.0),
        (None, Some(failure)) if failure.is_missing() => {
            vec![format!("{key}: the autoscaler does not know this route yet")]
        }
        (None, Some(failure)) => {
            vec![format!("{key}: the autoscaler cannot be asked: {}", failure.text.trim())]
        }
        (None, None) => {
            vec![format!("{key}: the autoscaler's answer is of another version; ebb check says which")]
        }
    };
    let is_under_way = if let Some(answer) = answer {
        !answer["rollout"].is_null()
    } else {
        let written = written(progress(service).as_ref(), spec.rollout_paused);
        let told = rollout_lines::lines(&written).into_iter().map(|line| format!("as written down: {line}"));
        lines.extend(told);
        !written.is_null()
    };
    if !is_under_way {
        lines.push(match spec.split_duration {
            Some(over) => {
                format!("no rollout is under way; a change of the split takes {}", GoDuration::from(over))
            }
            None => format!(
                "no rollout is under way; a change of the split takes effect at once ({} is off)",
                keys::SPLIT_DURATION.name
            ),
        });
        if spec.rollout_paused {
            lines.push("the next one is paused before it begins; --resume removes that".to_owned());
        }
    }
    lines
}

/// Returns what is written down, in the format of the autoscaler.
fn written(progress: Option<&Progress>, paused: bool) -> Value {
    let Some((progress, way)) = progress.and_then(|progress| Some((progress, progress.under_way.as_ref()?)))
    else {
        return Value::Null;
    };
    let state = match (paused, &*way.stopped) {
        (true, _) => "paused",
        (false, "") => "moving",
        (false, _) => "stopped",
    };
    json!({
        "from": split_text(&way.from),
        "to": split_text(&progress.to),
        "before": split_text(&way.before),
        "percent": f64::from(way.done) / 10.0,
        "state": state,
        "why": way.stopped,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::test_api;

    const HALF: &str = r#"{"before":"v1=100","done":500,"from":"v1=100","to":"v2=100"}"#;

    fn route(more: &Value) -> Value {
        let mut annotations = json!({"ebb.dev/split": "v2=100", "ebb.dev/split-duration": "10m"});
        for (key, value) in more.as_object().unwrap() {
            annotations[key] = value.clone();
        }
        json!({
            "metadata": {"name": "hello", "namespace": "shop", "resourceVersion": "7", "annotations": annotations},
            "spec": {"ports": [{"port": 80}]},
        })
    }

    fn key() -> ServiceKey {
        ServiceKey::new("shop", "hello")
    }

    /// Returns the patch of a route for an action, and the message.
    async fn acted(action: Action, more: &Value) -> (Option<Value>, String) {
        let object = route(more);
        let (cluster, log) = test_api::cluster(move |_| (200, object.clone()));
        let said = act(&cluster, &key(), action).await.unwrap_or_else(|error| error.to_string());
        let patch = log
            .lock()
            .iter()
            .find(|asked| asked.method == "PATCH")
            .map(|asked| asked.body["metadata"].clone());
        (patch, said)
    }

    #[tokio::test]
    async fn what_is_wished_becomes_annotations_for_the_object_that_was_seen() {
        let written = |annotations: &Value| Some(json!({"resourceVersion": "7", "annotations": annotations}));
        let half = json!({"ebb.dev/rollout": HALF});
        let paused = json!({"ebb.dev/rollout": HALF, "ebb.dev/rollout-paused": "true"});
        let pause = json!({"ebb.dev/rollout-paused": "true"});
        let resume = json!({"ebb.dev/rollout-paused": null});
        let undo = json!({"ebb.dev/split": "v1=100", "ebb.dev/rollout-paused": null});
        for (action, route, wanted, said) in [
            (Action::Pause, &half, written(&pause), "paused at 50.0 %"),
            (Action::Pause, &json!({}), written(&pause), "the next one will begin with --resume"),
            (Action::Pause, &paused, None, "paused already"),
            (Action::Pause, &json!({"ebb.dev/split-duration": "0s"}), None, "there is nothing to pause"),
            (Action::Resume, &paused, written(&resume), "resumed"),
            (Action::Resume, &half, None, "not paused"),
            (Action::Undo, &paused, written(&undo), "undone: the split is v1=100 again, at once"),
            (Action::Undo, &json!({}), None, "no rollout is under way"),
            (Action::Undo, &json!({"ebb.dev/rollout": "garbage"}), None, "no rollout is under way"),
            (
                Action::Undo,
                &json!({"ebb.dev/split": "v1=x"}),
                None,
                "is refused: ebb.dev/split: \"v1=x\" has no weight",
            ),
        ] {
            let (patch, answer) = acted(action, route).await;
            assert_eq!(patch, wanted, "{action:?} of {route}: {answer}");
            assert!(answer.contains(said), "{answer}");
        }
    }

    #[tokio::test]
    async fn who_writes_between_a_look_and_a_change_is_looked_at_again_and_not_for_ever() {
        let conflict = json!({"kind": "Status", "status": "Failure", "message": "the object has been modified", "code": 409});
        let object = route(&json!({"ebb.dev/rollout": HALF}));
        let (cluster, log) = test_api::cluster(move |asked| {
            if asked.method == "PATCH" { (409, conflict.clone()) } else { (200, object.clone()) }
        });
        let error = act(&cluster, &key(), Action::Undo).await.unwrap_err();
        assert!(error.to_string().contains("the object has been modified"), "{error}");
        assert_eq!(log.lock().len(), 2 * TRIES);
    }

    #[tokio::test]
    async fn what_is_no_route_is_told_apart_from_what_is_not_there() {
        let (cluster, _) = test_api::cluster(|_| test_api::missing());
        assert!(read(&cluster, &key()).await.unwrap_err().to_string().contains("there is no Service hello"));
        let plain = json!({"metadata": {"name": "hello", "namespace": "shop"}});
        let (cluster, _) = test_api::cluster(move |_| (200, plain.clone()));
        let error = read(&cluster, &key()).await.unwrap_err().to_string();
        assert_eq!(error, "Service shop/hello is no route: it has no annotation ebb.dev/split");
    }

    fn shown(more: &Value, answer: Option<&Value>) -> String {
        let service: Service = serde_json::from_value(route(more)).unwrap();
        let spec = parse_route("hello", service.annotations()).unwrap().spec;
        let failure = Failure { what: String::new(), code: Some(503), text: "nobody is there".to_owned() };
        lines(&key(), &service, &spec, answer, Some(&failure)).join("\n")
    }

    #[test]
    fn it_is_shown_as_the_autoscaler_says_or_else_as_it_was_written() {
        let answer = json!({
            "route": "shop/hello", "chosen_by": "activators",
            "targets": [{"service": "v1", "weight": 3, "trouble": "", "now": null}],
            "rollout": {"from": "v1=100", "to": "v2=100", "percent": 25.0, "state": "waiting", "why": "v2 has 0 of the 1 pods"},
        });
        let half = json!({"ebb.dev/rollout": HALF});
        let text = shown(&half, Some(&answer));
        assert!(text.ends_with("25.0 % done; waits: v2 has 0 of the 1 pods"), "{text}");
        let text = shown(&half, None);
        assert_eq!(
            text,
            "shop/hello: the autoscaler cannot be asked: nobody is there\n\
             as written down: rollout from v1=100 to v2=100: 50.0 % done; under way"
        );
        let still = json!({"route": "shop/hello", "targets": [], "rollout": null});
        let text = shown(&json!({"ebb.dev/rollout-paused": "true"}), Some(&still));
        assert!(
            text.contains("no rollout is under way; a change of the split takes 10m\nthe next one is paused"),
            "{text}"
        );
        let text = shown(&json!({"ebb.dev/split-duration": "0"}), Some(&still));
        assert!(text.ends_with("takes effect at once (ebb.dev/split-duration is off)"), "{text}");
    }

    #[test]
    fn what_was_written_down_says_why_it_stays() {
        let stopped = Progress::read(
            r#"{"before":"v1=1","done":500,"from":"v1=1","to":"v2=1","stopped":"v2: no image"}"#,
        );
        let state = |paused| written(stopped.as_ref(), paused)["state"].clone();
        assert_eq!((state(false), state(true)), (json!("stopped"), json!("paused")));
        assert_eq!(written(Progress::read(r#"{"to":"v2=1"}"#).as_ref(), false), Value::Null);
    }
}
