//! `ebb explain`: why a service has its number of pods, on this machine or on a cluster.

use std::{net::SocketAddr, process::ExitCode, time::Duration};

use anyhow::{Context, bail};
use clap::Args as ClapArgs;
use ebb_local::DEFAULT_API;
use ebb_proxy::{Upstream, UpstreamLimits, WallClock, fetch};
use http::{Request, StatusCode, header};
use serde_json::Value;

use crate::{
    cluster::{self, Connection},
    rollout_lines,
};

/// The answer contains the last decisions, some hundred bytes each.
const MAX_ANSWER_BYTES: usize = 1 << 20;
const ANSWER_WITHIN: Duration = Duration::from_secs(5);
/// On the same machine it shows at once whether an autoscaler is there.
const THERE_WITHIN: Duration = Duration::from_millis(500);

const HELP: &str = "\
With --api, ebb asks the autoscaler of this machine at that address. With -n, --context or --kubeconfig, it asks the \
cluster. With none of these, it asks this machine's autoscaler if one answers at 127.0.0.1:8079, the default of `ebb run` \
and `ebb up`, and otherwise the cluster of the kubeconfig. The first line says which.

On a cluster, it also shows why requests wait (pods that cannot start, activators or a webhook that are unavailable), \
what Ebb wrote on the Service, its latest Events, and what in its pods' spec slows down cold starts.";

/// `ebb explain SERVICE [-n NAMESPACE | --api ADDRESS] [--json]`
#[derive(ClapArgs, Debug)]
#[command(after_help = HELP)]
pub(crate) struct Args {
    /// The service: its name, or NAMESPACE/NAME
    service: String,
    /// Address of the autoscaler on this machine, as printed by `ebb run`
    #[arg(long, value_name = "ADDRESS", conflicts_with_all = ["namespace", "kubeconfig", "context"])]
    api: Option<SocketAddr>,
    /// The Service's namespace, on a cluster [default: that of the context]
    #[arg(short, long, value_name = "NAMESPACE")]
    namespace: Option<String>,
    #[command(flatten)]
    connection: Connection,
    /// Print everything as JSON
    #[arg(long)]
    json: bool,
}

/// Where to ask.
#[derive(Debug, PartialEq, Eq)]
enum Place {
    Local(SocketAddr),
    Cluster,
}

/// Asks the autoscaler, and prints the answer.
pub(crate) async fn explain(args: &Args) -> anyhow::Result<ExitCode> {
    let names_cluster = args.namespace.is_some() || args.connection.is_named();
    let is_local_there = args.api.is_none() && !names_cluster && is_there(DEFAULT_API).await;
    match place(args.api, names_cluster, is_local_there) {
        Place::Local(api) => local(args, api).await,
        Place::Cluster => {
            let explained =
                cluster::explain(&args.connection, args.namespace.as_deref(), &args.service, args.json).await;
            if names_cluster {
                return explained;
            }
            explained.with_context(|| {
                format!("no Ebb on this machine answers at {DEFAULT_API}, and on the cluster")
            })
        }
    }
}

/// Chooses the place: the named one; else this machine, if an autoscaler is there; else the cluster.
fn place(api: Option<SocketAddr>, names_cluster: bool, is_local_there: bool) -> Place {
    match api {
        Some(api) => Place::Local(api),
        None if is_local_there && !names_cluster => Place::Local(DEFAULT_API),
        None => Place::Cluster,
    }
}

async fn is_there(api: SocketAddr) -> bool {
    let Ok(request) = Request::get("/healthz").header(header::HOST, api.to_string()).body(()) else {
        return false;
    };
    let upstream = Upstream::new(api, UpstreamLimits::default());
    let answer = fetch(&upstream, request, MAX_ANSWER_BYTES, THERE_WITHIN).await;
    answer.is_ok_and(|answer| answer.status() == StatusCode::OK)
}

/// Asks this machine's autoscaler, and prints its answer.
async fn local(args: &Args, api: SocketAddr) -> anyhow::Result<ExitCode> {
    let service =
        if args.service.contains('/') { args.service.clone() } else { format!("local/{}", args.service) };
    let request = Request::get(format!("/explain/{service}"))
        .header(header::HOST, api.to_string())
        .body(())
        .with_context(|| format!("{:?} is not a service name", args.service))?;
    let upstream = Upstream::new(api, UpstreamLimits::default());
    let answer = fetch(&upstream, request, MAX_ANSWER_BYTES, ANSWER_WITHIN).await.with_context(|| {
        format!("no autoscaler answers at {api}; use --api with the address that `ebb run` prints")
    })?;
    let text = String::from_utf8_lossy(answer.body());
    if answer.status() != StatusCode::OK {
        bail!(
            "{} (asked at {api}; for another `ebb run`, use --api with the address that it prints; for a cluster, -n \
             NAMESPACE)",
            text.trim(),
        );
    }
    if args.json {
        println!("{text}");
        return Ok(ExitCode::SUCCESS);
    }
    let answer: Value = serde_json::from_str(&text).context("the autoscaler's answer is not JSON")?;
    let now = WallClock::start().now().since_epoch().as_secs_f64();
    println!("this machine, {api}");
    for line in lines(&answer, now) {
        println!("{line}");
    }
    Ok(ExitCode::SUCCESS)
}

/// Formats `answer` at `now`, in seconds since the Unix epoch.
pub(crate) fn lines(answer: &Value, now: f64) -> Vec<String> {
    if let Some(route) = answer["route"].as_str() {
        return route_lines(route, answer);
    }
    let state = &answer["now"];
    let path =
        if state["path"] == "serve" { "clients reach the pods directly" } else { "the activator answers" };
    let mut lines = vec![format!(
        "{}: {} ready, {} wanted; {path}",
        answer["service"].as_str().unwrap_or_default(),
        state["ready_pods"],
        state["desired_pods"],
    )];
    if state["fresh"] == false {
        lines.push("no fresh data: until there is some, no pod is removed".to_owned());
    }
    lines.extend(hosts_line(answer));
    if let Some(startup) = state["startup_seconds"].as_f64() {
        lines.push(format!("its pods take {startup:.1} s to start"));
    }
    for decision in answer["decisions"].as_array().into_iter().flatten() {
        let age = now - decision["at"].as_f64().unwrap_or(now);
        let text = decision["text"].as_str().unwrap_or_default();
        let done =
            decision["scale_to"].as_u64().map(|pods| format!(" → scaled to {pods}")).unwrap_or_default();
        lines.push(format!("{age:>7.1} s ago  {text}{done}"));
    }
    lines
}

/// Formats the hosts at the gateway, if there are any.
fn hosts_line(answer: &Value) -> Option<String> {
    let hosts: Vec<&str> = answer["hosts"].as_array()?.iter().filter_map(Value::as_str).collect();
    let tls = match (answer["tls_secret"].as_str(), answer["https_redirect"] == true) {
        (None, _) => String::new(),
        (Some(secret), false) => format!("; TLS with the certificate of Secret {secret}"),
        (Some(secret), true) => format!("; TLS with the certificate of Secret {secret}, http is redirected"),
    };
    Some(format!("at the gateway: {}{tls}", hosts.join(", ")))
}

/// Formats the `answer` for a route: its split, and the state of its targets.
fn route_lines(route: &str, answer: &Value) -> Vec<String> {
    let targets: Vec<&Value> = answer["targets"].as_array().into_iter().flatten().collect();
    let sum: u64 = targets.iter().filter_map(|target| target["weight"].as_u64()).sum();
    let how = match (answer["chosen_by"].as_str(), answer["split_by"].as_str()) {
        (Some("nobody"), _) => {
            "one service gets all requests; clients reach it as they reach it by its own name".to_owned()
        }
        (_, Some(by)) => format!("an activator chooses for each request, by {by}"),
        (_, None) => "an activator chooses for each request".to_owned(),
    };
    let mut lines = vec![format!("{route}: a route; {how}")];
    let widest =
        targets.iter().filter_map(|target| target["service"].as_str()).map(str::len).max().unwrap_or(0);
    for target in targets {
        let (service, weight) =
            (target["service"].as_str().unwrap_or_default(), target["weight"].as_u64().unwrap_or(0));
        let percent = 100.0 * weight as f64 / sum.max(1) as f64;
        let (state, trouble) = (&target["now"], target["trouble"].as_str().unwrap_or_default());
        let is = match (trouble, state.is_null()) {
            ("", false) => format!(
                "{} ready, {} wanted, {:.1} requests per second",
                state["ready_pods"],
                state["desired_pods"],
                state["rate"].as_f64().unwrap_or(0.0),
            ),
            ("", true) => "not known yet".to_owned(),
            (trouble, _) => format!("its share gets 503: {trouble}"),
        };
        lines.push(format!("  {service:<widest$}  {percent:>6.2} %  {is}"));
    }
    lines.extend(hosts_line(answer));
    lines.extend(rollout_lines::lines(&answer["rollout"]));
    lines
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn hosts_are_shown_of_those_who_have_any() {
        let of = |more: Value| {
            let mut answer = json!({"service": "shop/hello", "now": {"ready_pods": 1, "desired_pods": 1}});
            answer.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            lines(&answer, 0.0).get(1).cloned()
        };
        assert_eq!(of(json!({})), None);
        let plain = json!({"hosts": ["a.com", "*.b.com"], "tls_secret": null, "https_redirect": false});
        assert_eq!(of(plain).as_deref(), Some("at the gateway: a.com, *.b.com"));
        let secure = json!({"hosts": ["a.com"], "tls_secret": "a-tls", "https_redirect": true});
        let wanted = "at the gateway: a.com; TLS with the certificate of Secret a-tls, http is redirected";
        assert_eq!(of(secure).as_deref(), Some(wanted));
    }

    #[test]
    fn what_is_named_is_asked_else_this_machine_else_the_cluster() {
        let other: SocketAddr = "127.0.0.1:9".parse().unwrap();
        assert_eq!(place(Some(other), false, true), Place::Local(other));
        assert_eq!(place(None, true, true), Place::Cluster);
        assert_eq!(place(None, false, true), Place::Local(DEFAULT_API));
        assert_eq!(place(None, false, false), Place::Cluster);
    }

    #[test]
    fn an_answer_is_told_in_lines() {
        let answer = json!({
            "service": "local/hello",
            "now": {
                "path": "proxy", "ready_pods": 1, "desired_pods": 3, "fresh": false, "startup_seconds": 1.25
            },
            "decisions": [
                { "at": 90.0, "text": "panic: concurrency stable 20.00 …", "scale_to": 3 },
                { "at": 98.5, "text": "stable: concurrency stable 21.00 …", "scale_to": null },
            ],
        });
        assert_eq!(
            lines(&answer, 100.0),
            [
                "local/hello: 1 ready, 3 wanted; the activator answers",
                "no fresh data: until there is some, no pod is removed",
                "its pods take 1.2 s to start",
                "   10.0 s ago  panic: concurrency stable 20.00 … → scaled to 3",
                "    1.5 s ago  stable: concurrency stable 21.00 …",
            ]
        );
        assert_eq!(lines(&json!({}), 0.0).len(), 1, "an answer of another form is no reason to fail");
    }

    #[test]
    fn a_route_is_told_with_all_who_get_its_requests() {
        let answer = json!({
            "route": "local/hello", "leads": true, "chosen_by": "activators", "split_by": "cookie user",
            "targets": [
                { "service": "hello-v1", "weight": 90, "trouble": "",
                  "now": { "ready_pods": 3, "desired_pods": 4, "rate": 12.34 } },
                { "service": "v2", "weight": 10, "trouble": "there is no Service v2", "now": null },
            ],
            "rollout": { "from": "hello-v1=1", "to": "v2=1", "percent": 10.0, "state": "paused" },
        });
        assert_eq!(
            lines(&answer, 0.0),
            [
                "local/hello: a route; an activator chooses for each request, by cookie user",
                "  hello-v1   90.00 %  3 ready, 4 wanted, 12.3 requests per second",
                "  v2         10.00 %  its share gets 503: there is no Service v2",
                "rollout from hello-v1=1 to v2=1: 10.0 % done; paused",
            ]
        );
        let sole = json!({ "route": "local/hello", "chosen_by": "nobody", "split_by": null, "targets": [] });
        assert!(lines(&sole, 0.0)[0].contains("one service gets all requests"));
    }
}
