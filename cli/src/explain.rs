//! `ebb explain`: why a service has the pods it has.

use std::{net::SocketAddr, process::ExitCode, time::Duration};

use anyhow::{Context, bail};
use clap::Args as ClapArgs;
use ebb_local::DEFAULT_API;
use ebb_proxy::{Upstream, UpstreamLimits, WallClock, fetch};
use http::{Request, StatusCode, header};
use serde_json::Value;

/// The answer holds the last decisions, some hundred bytes each.
const MAX_ANSWER_BYTES: usize = 1 << 20;
const ANSWER_WITHIN: Duration = Duration::from_secs(5);

/// `ebb explain SERVICE [--api ADDRESS] [--json]`
#[derive(ClapArgs, Debug)]
pub(crate) struct Args {
    /// The service: its name, or NAMESPACE/NAME
    service: String,
    /// Where the autoscaler answers, as `ebb run` says when it starts
    #[arg(long, default_value_t = DEFAULT_API, value_name = "ADDRESS")]
    api: SocketAddr,
    /// Everything that is known, as JSON
    #[arg(long)]
    json: bool,
}

/// Asks the autoscaler, and says what it answers.
pub(crate) async fn explain(args: &Args) -> anyhow::Result<ExitCode> {
    let service =
        if args.service.contains('/') { args.service.clone() } else { format!("local/{}", args.service) };
    let request = Request::get(format!("/explain/{service}"))
        .header(header::HOST, args.api.to_string())
        .body(())
        .with_context(|| format!("{:?} is no name of a service", args.service))?;
    let upstream = Upstream::new(args.api, UpstreamLimits::default());
    let answer = fetch(&upstream, request, MAX_ANSWER_BYTES, ANSWER_WITHIN).await.with_context(|| {
        format!("no autoscaler answers at {}; `ebb run` says where its own does (--api)", args.api)
    })?;
    let text = String::from_utf8_lossy(answer.body());
    if answer.status() != StatusCode::OK {
        bail!(
            "{} (asked at {}; `ebb run` says where its own autoscaler answers: --api)",
            text.trim(),
            args.api
        );
    }
    if args.json {
        println!("{text}");
        return Ok(ExitCode::SUCCESS);
    }
    let answer: Value = serde_json::from_str(&text).context("the autoscaler's answer is not JSON")?;
    let now = WallClock::start().now().since_epoch().as_secs_f64();
    for line in lines(&answer, now) {
        println!("{line}");
    }
    Ok(ExitCode::SUCCESS)
}

/// What `answer` says at `now`, in seconds since the Unix epoch.
fn lines(answer: &Value, now: f64) -> Vec<String> {
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
        lines.push("no fresh data: as long as it is missing, no pod goes".to_owned());
    }
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

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
                "no fresh data: as long as it is missing, no pod goes",
                "its pods take 1.2 s to start",
                "   10.0 s ago  panic: concurrency stable 20.00 … → scaled to 3",
                "    1.5 s ago  stable: concurrency stable 21.00 …",
            ]
        );
        assert_eq!(lines(&json!({}), 0.0).len(), 1, "an answer of another form is no reason to fail");
    }
}
