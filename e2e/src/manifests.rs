//! The objects that a test puts into its namespace: an app, and the Service in front of it.

use serde_json::{Map, Value, json};

/// The app's port.
pub const HTTP_PORT: u16 = 8080;
/// The activators' ports, one for each Service.
pub const ACTIVATOR_PORTS: std::ops::Range<u16> = 10_000..30_000;
/// The sidecar's port.
pub const SERVING_PORT: u16 = 8012;

const IMAGE: &str = "ebb/sample-app:0.1.0";
/// Much longer than any drain in a test.
const GRACE_SECONDS: u32 = 30;

/// The sample app as a Deployment or a `StatefulSet`, with no pods by default.
#[derive(Clone, Debug)]
pub struct App {
    pub(crate) kind: &'static str,
    pub(crate) name: String,
    replicas: u32,
    image: String,
    arguments: Vec<String>,
    environment: Map<String, Value>,
    labels: Map<String, Value>,
    probe: bool,
}

impl App {
    /// Creates it as a Deployment.
    pub fn deployment(name: &str) -> Self {
        Self {
            kind: "Deployment",
            name: name.to_owned(),
            replicas: 0,
            image: IMAGE.to_owned(),
            arguments: vec!["--address=0.0.0.0".to_owned(), format!("--port={HTTP_PORT}")],
            environment: Map::new(),
            labels: Map::from_iter([("app".to_owned(), json!(name))]),
            probe: false,
        }
    }

    /// Creates it as a `StatefulSet`.
    pub fn stateful_set(name: &str) -> Self {
        Self { kind: "StatefulSet", ..Self::deployment(name) }
    }

    /// Sets the initial replicas.
    #[must_use]
    pub fn with_pods(mut self, replicas: u32) -> Self {
        self.replicas = replicas;
        self
    }

    /// Sets how long the app takes until it listens.
    #[must_use]
    pub fn starting_within_ms(self, ms: u32) -> Self {
        self.told(format!("--startup-ms={ms}"))
    }

    /// Makes the app end right after each start.
    #[must_use]
    pub fn crashing(self) -> Self {
        self.told("--fail=crash")
    }

    /// Makes the app run without ever listening.
    #[must_use]
    pub fn never_listening(self) -> Self {
        self.told("--fail=never-listen")
    }

    /// Adds an argument.
    #[must_use]
    pub fn told(mut self, argument: impl Into<String>) -> Self {
        self.arguments.push(argument.into());
        self
    }

    /// Sets the image.
    #[must_use]
    pub fn from_image(mut self, image: &str) -> Self {
        image.clone_into(&mut self.image);
        self
    }

    /// Adds an environment variable; another value makes another version of the app.
    #[must_use]
    pub fn with_variable(mut self, name: &str, value: &str) -> Self {
        self.environment.insert(name.to_owned(), json!(value));
        self
    }

    /// Gives its pods no sidecar.
    #[must_use]
    pub fn without_sidecar(mut self) -> Self {
        self.labels.insert("ebb.dev/inject".to_owned(), json!("false"));
        self
    }

    /// Adds a readiness probe by the kubelet.
    #[must_use]
    pub fn probed(mut self) -> Self {
        self.probe = true;
        self
    }

    /// Returns its name, which its pods have as their label `app`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the scale target that a Service names.
    pub fn reference(&self) -> String {
        format!("{}/{}", self.kind, self.name)
    }

    /// Returns the object.
    pub fn manifest(&self) -> Value {
        let environment: Vec<Value> =
            self.environment.iter().map(|(name, value)| json!({"name": name, "value": value})).collect();
        let mut container = json!({
            "name": "app",
            "image": self.image,
            "imagePullPolicy": "IfNotPresent",
            "args": self.arguments,
            "env": environment,
            "ports": [{"name": "http", "containerPort": HTTP_PORT}],
        });
        if self.probe {
            container["readinessProbe"] =
                json!({"httpGet": {"path": "/healthz", "port": "http"}, "periodSeconds": 1});
        }
        let mut manifest = json!({
            "apiVersion": "apps/v1",
            "kind": self.kind,
            "metadata": {"name": self.name},
            "spec": {
                "replicas": self.replicas,
                "selector": {"matchLabels": {"app": self.name}},
                "template": {
                    "metadata": {"labels": self.labels},
                    "spec": {"terminationGracePeriodSeconds": GRACE_SECONDS, "containers": [container]},
                },
            },
        });
        if self.kind == "StatefulSet" {
            manifest["spec"]["serviceName"] = json!(self.name);
        }
        manifest
    }
}

/// The Service in front of an app.
#[derive(Clone, Debug)]
pub struct Front {
    pub(crate) name: String,
    annotations: Map<String, Value>,
    spec: Value,
}

impl Front {
    /// Creates a plain one, without Ebb.
    pub fn plain(app: &App) -> Self {
        Self {
            name: app.name.clone(),
            annotations: Map::new(),
            spec: json!({
                "selector": {"app": app.name},
                "ports": [{"name": "http", "port": 80, "targetPort": HTTP_PORT}],
            }),
        }
    }

    /// Creates one that Ebb scales, with the shortest windows: it is back at zero some ten seconds after the
    /// last request.
    pub fn scaled(app: &App) -> Self {
        Self::plain(app)
            .with("ebb.dev/scale-target", &app.reference())
            .with("autoscaling.knative.dev/window", "6s")
            .with("autoscaling.knative.dev/initial-scale", "0")
            // Directly to the pods as soon as there are any, so that both paths are tested.
            .with("autoscaling.knative.dev/target-burst-capacity", "0")
    }

    /// Creates a route with the given split.
    pub fn route(name: &str, split: &str) -> Self {
        let spec = json!({"ports": [{"name": "http", "port": 80}]});
        let front = Self { name: name.to_owned(), annotations: Map::new(), spec };
        front.with("ebb.dev/split", split)
    }

    /// Adds or changes an annotation.
    #[must_use]
    pub fn with(mut self, key: &str, value: &str) -> Self {
        self.annotations.insert(key.to_owned(), json!(value));
        self
    }

    /// Sets another name.
    #[must_use]
    pub fn named(mut self, name: &str) -> Self {
        name.clone_into(&mut self.name);
        self
    }

    /// Sets a field of its spec, or removes it by `null`.
    #[must_use]
    pub fn with_field(mut self, field: &str, value: Value) -> Self {
        if value.is_null() {
            self.spec.as_object_mut().map(|spec| spec.remove(field));
        } else {
            self.spec[field] = value;
        }
        self
    }

    /// Returns the object.
    pub fn manifest(&self) -> Value {
        json!({
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": self.name, "annotations": self.annotations},
            "spec": self.spec,
        })
    }
}
