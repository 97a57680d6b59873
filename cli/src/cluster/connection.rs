//! Which cluster to use, and how to call it: every call has a deadline, and failures are described in words.

use std::{fmt, path::PathBuf, time::Duration};

use anyhow::anyhow;
use clap::Args as ClapArgs;
use http::Request;
use kube::{
    Api, Client, Config,
    api::{ListParams, ObjectList},
    config::{KubeConfigOptions, Kubeconfig},
    core::NamespaceResourceScope,
};
use serde::de::DeserializeOwned;
use tokio::time::timeout;

/// The deadline of the API server's answers. Creating pods may wait for webhooks, each for 10 s by default.
const ANSWER_WITHIN: Duration = Duration::from_secs(15);
const CONNECT_WITHIN: Duration = Duration::from_secs(5);
/// The page size of lists.
const PAGE: u32 = 500;

/// Which cluster is meant.
#[derive(ClapArgs, Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Connection {
    /// The kubeconfig [default: $KUBECONFIG, else ~/.kube/config, else that of the pod this runs in]
    #[arg(long, value_name = "FILE")]
    kubeconfig: Option<PathBuf>,
    /// The context of the kubeconfig [default: its current one]
    #[arg(long, value_name = "NAME")]
    context: Option<String>,
}

/// A cluster that can be called.
#[derive(Clone)]
pub(crate) struct Cluster {
    pub(crate) client: Client,
    /// The namespace of services that are named without one.
    pub(crate) namespace: String,
    /// Its name in the kubeconfig, and its address.
    name: String,
}

/// A failed call to a cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    /// What was asked for.
    pub(crate) what: String,
    /// The HTTP status; `None` if there was no answer.
    pub(crate) code: Option<u16>,
    /// The reason.
    pub(crate) text: String,
}

impl Connection {
    /// Returns whether a cluster is named explicitly.
    pub(crate) fn is_named(&self) -> bool {
        *self != Self::default()
    }

    /// Returns the cluster, without calling it yet.
    pub(crate) async fn open(&self) -> anyhow::Result<Cluster> {
        let file = match &self.kubeconfig {
            Some(path) => Kubeconfig::read_from(path),
            None => Kubeconfig::read(),
        };
        let (mut config, context) = match file {
            Ok(file) => {
                let context = self.context.clone().or_else(|| file.current_context.clone());
                let options = KubeConfigOptions { context: self.context.clone(), ..Default::default() };
                let config = Config::from_custom_kubeconfig(file, &options).await;
                let config =
                    config.map_err(|error| self.wrong("the kubeconfig has no such cluster", &error))?;
                (config, context)
            }
            // In a pod there is no kubeconfig, and none is needed.
            Err(_) if !self.is_named() && Config::incluster().is_ok() => {
                (Config::incluster()?, Some("of this pod".to_owned()))
            }
            Err(error) => return Err(self.wrong("cannot read a kubeconfig", &error)),
        };
        let name = match context {
            Some(context) => format!("{context} ({})", config.cluster_url),
            None => config.cluster_url.to_string(),
        };
        let namespace = config.default_namespace.clone();
        config.connect_timeout = Some(CONNECT_WITHIN);
        // A failure is an answer here; kube would retry it past every deadline.
        config.default_retry = false;
        let client =
            Client::try_from(config).map_err(|error| self.wrong("the kubeconfig cannot be used", &error))?;
        Ok(Cluster { client, namespace, name })
    }

    /// Errors of kube include their causes.
    fn wrong(&self, what: &str, error: &impl fmt::Display) -> anyhow::Error {
        let which = match (&self.kubeconfig, &self.context) {
            (Some(path), _) => format!(" ({})", path.display()),
            (None, Some(context)) => format!(" (context {context:?})"),
            (None, None) => String::new(),
        };
        anyhow!("{what}{which}: {error}; set --kubeconfig or $KUBECONFIG, and --context for another context")
    }
}

impl Cluster {
    /// Creates one that uses `client`.
    #[cfg(test)]
    pub(crate) fn of(client: Client) -> Self {
        Self { client, namespace: "default".to_owned(), name: "test".to_owned() }
    }

    /// Waits for the answer to `asked`, with a deadline.
    pub(crate) async fn call<T>(
        &self,
        what: impl Into<String>,
        asked: impl Future<Output = kube::Result<T>>,
    ) -> Result<T, Failure> {
        match timeout(ANSWER_WITHIN, asked).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(error)) => Err(Failure::of(what.into(), &error)),
            Err(_) => Err(Failure {
                what: what.into(),
                code: None,
                text: format!("no answer within {} s", ANSWER_WITHIN.as_secs()),
            }),
        }
    }

    /// Like [`Self::call`], but returns `None` if there is no such object.
    pub(crate) async fn find<T>(
        &self,
        what: impl Into<String>,
        asked: impl Future<Output = kube::Result<T>>,
    ) -> Result<Option<T>, Failure> {
        match self.call(what, asked).await {
            Ok(answer) => Ok(Some(answer)),
            Err(failure) if failure.is_missing() => Ok(None),
            Err(failure) => Err(failure),
        }
    }

    /// Returns everything that matches, read page by page.
    pub(crate) async fn list<K>(
        &self,
        what: &str,
        api: &Api<K>,
        wanted: ListParams,
    ) -> Result<Vec<K>, Failure>
    where
        K: Clone + DeserializeOwned + std::fmt::Debug,
    {
        let mut wanted = wanted.limit(PAGE);
        let mut all = Vec::new();
        loop {
            let page: ObjectList<K> = self.call(what, api.list(&wanted)).await?;
            all.extend(page.items);
            match page.metadata.continue_.filter(|token| !token.is_empty()) {
                Some(token) => wanted = wanted.continue_token(&token),
                None => return Ok(all),
            }
        }
    }

    /// Returns the API for a kind in a namespace.
    pub(crate) fn within<K>(&self, namespace: &str) -> Api<K>
    where
        K: kube::Resource<Scope = NamespaceResourceScope, DynamicType: Default>,
    {
        Api::namespaced(self.client.clone(), namespace)
    }

    /// Returns the text at `path` of the API server.
    pub(crate) async fn text(&self, what: impl Into<String>, path: &str) -> Result<String, Failure> {
        let what = what.into();
        let request = match Request::get(path).body(Vec::new()) {
            Ok(request) => request,
            Err(error) => return Err(Failure { what, code: None, text: error.to_string() }),
        };
        self.call(what, self.client.request_text(request)).await
    }
}

impl fmt::Display for Cluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cluster {}", self.name)
    }
}

impl Failure {
    fn of(what: String, error: &kube::Error) -> Self {
        if let kube::Error::Api(status) = error {
            let text = if status.message.is_empty() { status.reason.clone() } else { status.message.clone() };
            return Self { what, code: Some(status.code), text };
        }
        // Outer errors only name our libraries, and nothing that a user could change.
        let mut cause: &dyn std::error::Error = error;
        while let Some(source) = cause.source() {
            cause = source;
        }
        Self { what, code: None, text: cause.to_string() }
    }

    /// Returns whether there is no such object, or no such kind.
    pub(crate) fn is_missing(&self) -> bool {
        self.code == Some(404)
    }

    /// Returns whether the caller lacks the right.
    pub(crate) fn is_forbidden(&self) -> bool {
        matches!(self.code, Some(401 | 403))
    }

    /// Returns whether the object was changed meanwhile.
    pub(crate) fn is_conflict(&self) -> bool {
        self.code == Some(409)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.what, self.text.trim())
    }
}

impl std::error::Error for Failure {}
