use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family},
    registry::Registry,
};

/// Metrics of the communication with the API server.
#[derive(Debug, Default)]
pub struct ApiMetrics {
    writes: Family<WriteLabels, Counter>,
    watch_failures: Family<KindLabels, Counter>,
    notices: Family<ReasonLabels, Counter>,
    panics: Family<TaskLabels, Counter>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct WriteLabels {
    what: &'static str,
    outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct KindLabels {
    kind: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReasonLabels {
    reason: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct TaskLabels {
    task: &'static str,
}

impl ApiMetrics {
    /// Registers them in `registry`.
    pub fn register(&self, registry: &mut Registry) {
        registry.register(
            "api_writes",
            "Writes to the Kubernetes API, by object and outcome",
            self.writes.clone(),
        );
        registry.register(
            "watch_failures",
            "Watches of the Kubernetes API that ended and were restarted, by kind",
            self.watch_failures.clone(),
        );
        registry.register("notices", "Events written, by reason", self.notices.clone());
        registry.register(
            "api_task_panics",
            "Tasks for the Kubernetes API that panicked and were restarted: any rise is a bug in Ebb",
            self.panics.clone(),
        );
    }

    /// Counts a panic of a task.
    pub fn panicked(&self, task: &'static str) {
        self.panics.get_or_create_owned(&TaskLabels { task }).inc();
    }

    pub(crate) fn called<T>(&self, what: &'static str, result: &Result<T, kube::Error>) {
        let code = match result {
            Ok(_) => 200,
            Err(kube::Error::Api(status)) => status.code,
            Err(_) => 0,
        };
        let outcome = match code {
            200 => "done",
            // The object to delete did not exist.
            404 => "gone",
            409 => "conflict",
            _ => "failed",
        };
        self.writes.get_or_create_owned(&WriteLabels { what, outcome }).inc();
    }

    pub(crate) fn watch_failed(&self, kind: &str) {
        self.watch_failures.get_or_create_owned(&KindLabels { kind: kind.to_owned() }).inc();
    }

    pub(crate) fn noticed(&self, reason: &'static str) {
        self.notices.get_or_create_owned(&ReasonLabels { reason }).inc();
    }
}
