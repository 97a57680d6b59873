//! The cluster under test, and the faults that can be caused in it.

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
    /// The API client.
    pub client: Client,
}

impl fmt::Debug for Cluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cluster").finish_non_exhaustive()
    }
}

impl Cluster {
    /// Returns the cluster of `KUBECONFIG`; if there is none, prints a line that says so and returns `None`.
    ///
    /// # Panics
    ///
    /// Panics if the cluster cannot be reached.
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
    /// Waits until Kubernetes has recovered: after a fault, its controllers may take healthy nodes and pods
    /// for lost until they have read the current state again.
    ///
    /// # Panics
    ///
    /// Panics if it does not recover.
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

/// Stops parts of the cluster, each of which is started again when the returned guard is dropped.
#[derive(Clone, Debug)]
pub struct Faults {
    component: PathBuf,
}

impl Faults {
    /// If nothing may be stopped, prints a line that says so and returns `None`: faults are for clusters that
    /// nobody else uses.
    pub fn find() -> Option<Self> {
        static SAID: Once = Once::new();
        let Some(folder) = env::var_os(SCRIPTS) else {
            say_once(&SAID, "skipped what breaks the cluster: no EBB_CLUSTER_DIR with a program `component`");
            return None;
        };
        Some(Self { component: PathBuf::from(folder).join("component") })
    }

    /// Kills a component, and keeps it stopped.
    ///
    /// # Panics
    ///
    /// Panics if that fails.
    pub fn stop(&self, component: &'static str) -> Stopped {
        assert!(self.run("stop", component), "cannot stop {component}");
        Stopped { faults: self.clone(), component }
    }

    /// Returns whether the script succeeded. The scripts detect a running cluster by a network other than
    /// theirs, which fails inside the cluster's network. So they run in a separate one; they need none.
    fn run(&self, what: &str, component: &str) -> bool {
        let mut command = Command::new("unshare");
        command.arg("--net").arg("--").arg(&self.component).args([what, component]);
        command.stdout(Stdio::null()).status().is_ok_and(|status| status.success())
    }
}

/// A component that stays stopped until this is dropped.
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

/// Runs `kubectl` with `input` on its standard input.
///
/// # Errors
///
/// Returns its standard error if it fails.
///
/// # Panics
///
/// Panics if there is no `kubectl`.
pub async fn kubectl(arguments: &[&str], input: &str) -> Result<String, String> {
    let mut child =
        piped("kubectl", arguments).stdin(Stdio::piped()).spawn().expect("kubectl is on the path");
    if let Some(mut stdin) = child.stdin.take() {
        // If it refuses its arguments, it reads nothing and reports that itself.
        let _ = stdin.write_all(input.as_bytes()).await;
    }
    said(child.wait_with_output().await)
}

/// Runs a program to its end, and returns its output.
///
/// # Errors
///
/// Returns its output if it fails, or why it could not be started.
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

/// Prints past the capture of test output, which is shown only for failed tests.
fn say_once(said: &Once, line: &str) {
    said.call_once(|| {
        let _ = writeln!(std::io::stderr(), "{line}");
    });
}
