//! Tests of installing and uninstalling Ebb, with its own tool and with Helm. An existing installation is
//! removed meanwhile, and is there again at the end.

use std::env;

use e2e::{App, Front, Load, SOON, Scenario, alone, eventually, get_within, run, served};

/// The variable that names the `ebb` to test.
const TOOL: &str = "EBB_E2E_TOOL";
const CHART: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy/chart/ebb");
const NAMESPACE: &str = "ebb-system";

#[tokio::test]
async fn ebb_comes_and_goes_by_its_tool_and_by_helm_and_nobody_notices() {
    alone("install", async |it| {
        let Some(tool) = env::var_os(TOOL).and_then(|path| path.into_string().ok()) else {
            eprintln!("skipped: no EBB_E2E_TOOL that says which ebb to try; e2e/run builds one");
            return;
        };
        if run("helm", &["version"]).await.is_err() {
            eprintln!("skipped: there is no helm");
            return;
        }
        let ebb = async |arguments: &[&str]| match run(&tool, arguments).await {
            Ok(said) => {
                // Shown if the test fails.
                println!("$ ebb {}\n{said}", arguments.join(" "));
                said
            }
            Err(said) => panic!("ebb {}: {said}", arguments.join(" ")),
        };
        // Of other scenarios there may still be Services that are at fault on purpose.
        let checked = ["check", "--namespace", &it.namespace];
        let (app, idle) = (App::deployment("hello").probed(), App::deployment("idle"));
        let front = Front::scaled(&app).with("autoscaling.knative.dev/min-scale", "1");
        let address = it.with(&app, &front).await;
        let idle_at = it.with(&idle, &Front::scaled(&idle)).await;
        it.has_ready(&app, 1).await;
        assert!(ebb(&checked).await.contains("no faults"));
        let explained = ebb(&["explain", "idle", "--namespace", &it.namespace]).await;
        assert!(explained.contains("idle"), "{explained}");

        // Everything is uninstalled, under load.
        let load = Load::of(50, address, "/?ms=5").start();
        // Deleting the namespace would take minutes: the cluster waits for half of its pods' grace period.
        // Ksvcs that other scenarios left would be in its way.
        let said = ebb(&["uninstall", "--keep-namespace", "--delete-ksvcs"]).await;
        assert!(said.contains("Ebb is removed"), "{said}");
        is_the_clusters(it, "hello").await;
        is_the_clusters(it, "idle").await;
        served(idle_at, "/").await;

        // Helm installs it again, and Services that are still annotated are taken up again.
        let helm = ["install", "ebb", CHART, "--namespace", NAMESPACE, "--wait"];
        run("helm", &helm).await.unwrap();
        it.at_zero(&idle).await;
        get_within(idle_at, "/", SOON).await.unwrap().assert_ok();
        assert!(ebb(&checked).await.contains("no faults"));
        let said = ebb(&["uninstall"]).await;
        assert!(said.contains("helm uninstall ebb"), "what Helm brought it takes: {said}");
        is_the_clusters(it, "hello").await;
        run("helm", &["uninstall", "ebb", "--namespace", NAMESPACE, "--wait"]).await.unwrap();

        // And so does the tool, with everything that the other scenarios need.
        let said = ebb(&["install", "--gateway", "--serving"]).await;
        assert!(said.contains("no faults"), "{said}");
        it.at_zero(&idle).await;
        get_within(idle_at, "/", SOON).await.unwrap().assert_ok();
        load.serves(200).await;
        load.stop().await.assert_nothing_lost();
    })
    .await;
}

/// Waits until the Service has no trace of Ebb.
async fn is_the_clusters(it: &Scenario, service: &str) {
    eventually("the Service leads where its selector says", SOON, async || {
        let selector = it.service(service).await.spec.unwrap_or_default().selector;
        let endpoints = it.endpoints(service, "http").await;
        (selector.is_some() && !endpoints.is_ebbs && !endpoints.addresses.is_empty()).then_some(())
    })
    .await;
}
