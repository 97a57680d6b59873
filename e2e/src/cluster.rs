//! The cluster that there is, and what can be broken of it.

use std::{
    env, fmt,
    io::{self, Write},
    path::PathBuf,
    process::{Command, Output, Stdio},
    sync::Once,
};

use k8s_openapi::api::core::v1::{Node, Pod};
use kube::{Api, Client, Config, api::ListParams};
use tokio::{io::AsyncWriteExt, process};

use crate::{
    scenario::is_ready,
    wait::{LATE, eventually},
};

/// A folder with the program `component`, which stops and starts parts of the cluster.
const SCRIPTS: &str = "EBB_CLUSTER_DIR";

/// A Kubernetes API.
#[derive(Clone)]
pub struct Cluster {
    /// Speaks to it.
    pub client: Client,
}

impl fmt::Debug for Cluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cluster").finish_non_exhaustive()
    }
}

impl Cluster {
    /// The cluster of `KUBECONFIG`; `None`, and a line that says so, where there is none.
    ///
    /// # Panics
    ///
    /// When there is one that cannot be spoken to.
    pub async fn find() -> Option<Self> {
        static SAID: Once = Once::new();
        if env::var_os("KUBECONFIG").is_none() {
            say_once(&SAID, "skipped: no KUBECONFIG, so no cluster to test in; e2e/run brings one");
            return None;
        }
        let config = Config::infer().await.expect("KUBECONFIG is readable");
        Some(Self { client: Client::try_from(config).expect("KUBECONFIG is usable") })
    }
}

impl Cluster {
    /// Waits until Kubernetes has found back to itself: after a fault its controllers may take nodes and pods that are
    /// well for lost, until they have read anew what there is.
    ///
    /// # Panics
    ///
    /// When it does not.
    pub async fn is_well(&self) {
        let (nodes, pods): (Api<Node>, Api<Pod>) =
            (Api::all(self.client.clone()), Api::namespaced(self.client.clone(), "ebb-system"));
        eventually("nodes and the pods of Ebb are ready", LATE, async || {
            let all = ListParams::default();
            let (nodes, pods) = (nodes.list(&all).await.ok()?, pods.list(&all).await.ok()?);
            let is_up = |node: &Node| {
                let conditions = node.status.iter().flat_map(|status| status.conditions.iter().flatten());
                conditions.into_iter().any(|is| is.type_ == "Ready" && is.status == "True")
            };
            (nodes.iter().all(is_up) && pods.iter().all(is_ready)).then_some(())
        })
        .await;
    }
}

/// Breaks parts of the cluster, each of which comes back when what was returned is dropped.
#[derive(Clone, Debug)]
pub struct Faults {
    component: PathBuf,
}

impl Faults {
    /// `None`, and a line that says so, where nothing can be broken: faults are for clusters that nobody else uses.
    pub fn find() -> Option<Self> {
        static SAID: Once = Once::new();
        let Some(folder) = env::var_os(SCRIPTS) else {
            say_once(&SAID, "skipped what breaks the cluster: no EBB_CLUSTER_DIR with a program `component`");
            return None;
        };
        Some(Self { component: PathBuf::from(folder).join("component") })
    }

    /// Kills a component, and leaves it away.
    ///
    /// # Panics
    ///
    /// When that fails.
    pub fn stop(&self, component: &'static str) -> Stopped {
        assert!(self.run("stop", component), "cannot stop {component}");
        Stopped { faults: self.clone(), component }
    }

    /// Whether it did so. From inside the cluster's network the scripts do not see that there is a cluster: they tell by the
    /// network that theirs is another. So they get one of their own; they need none.
    fn run(&self, what: &str, component: &str) -> bool {
        let mut command = Command::new("unshare");
        command.arg("--net").arg("--").arg(&self.component).args([what, component]);
        command.stdout(Stdio::null()).status().is_ok_and(|status| status.success())
    }
}

/// A component that is away until this is dropped.
#[derive(Debug)]
pub struct Stopped {
    faults: Faults,
    component: &'static str,
}

impl Drop for Stopped {
    fn drop(&mut self) {
        if !self.faults.run("start", self.component) {
            eprintln!("cannot start {}", self.component);
        }
    }
}

/// Runs `kubectl`, with `input` on its standard input; the error is what it said.
///
/// # Errors
///
/// What it said on standard error, when it fails.
///
/// # Panics
///
/// When there is no `kubectl`.
pub async fn kubectl(arguments: &[&str], input: &str) -> Result<String, String> {
    let mut child =
        piped("kubectl", arguments).stdin(Stdio::piped()).spawn().expect("kubectl is on the path");
    if let Some(mut stdin) = child.stdin.take() {
        // It reads nothing where it refuses its arguments; it says why itself.
        let _ = stdin.write_all(input.as_bytes()).await;
    }
    said(child.wait_with_output().await)
}

/// Runs a program to its end, and returns what it said.
///
/// # Errors
///
/// What it said, when it fails, and why there was nothing to run.
pub async fn run(program: &str, arguments: &[&str]) -> Result<String, String> {
    said(piped(program, arguments).stdin(Stdio::null()).output().await)
}

fn piped(program: &str, arguments: &[&str]) -> process::Command {
    let mut command = process::Command::new(program);
    command.args(arguments).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn said(output: io::Result<Output>) -> Result<String, String> {
    let output = output.map_err(|error| error.to_string())?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    if output.status.success() {
        Ok(text(&output.stdout))
    } else {
        Err(format!("{}{}", text(&output.stderr), text(&output.stdout)))
    }
}

/// Past the capture of tests' output, which is shown of failed ones only.
fn say_once(said: &Once, line: &str) {
    said.call_once(|| {
        let _ = writeln!(std::io::stderr(), "{line}");
    });
}
