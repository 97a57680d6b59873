//! Services of Knative Serving: filled in and examined as a cluster does it, and made into services of one
//! machine.
//!
//! A Service that is given several times is one that was changed: each time is a revision, and the last one
//! counts.

mod container;
mod readiness;
mod revision;
mod traffic;
mod unknown;

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};

use ebb_annotations::keys as ebb;
use ebb_serving::{
    admission::{defaults, service},
    api::{self, Route, RouteSpec},
    config::Config,
    names::child,
    route::address,
    seen::Seen,
};
use kube::ResourceExt;

use super::{ConfigError, Service, documents::Document, local_defaults};

/// The group of the kind.
pub(super) const GROUP: &str = "serving.knative.dev";
/// The kind.
pub(super) const KIND: &str = "Service";
/// The namespace of a Service that names none.
const NAMESPACE: &str = "default";

/// A Service as it was written.
#[derive(Clone, Debug)]
pub(super) struct Given {
    /// The file.
    pub(super) path: PathBuf,
    pub(super) service: api::Service,
    /// The paths of fields that no Service has.
    pub(super) unknown: Vec<String>,
}

impl Given {
    /// Reads a document of the file at `path`.
    ///
    /// # Errors
    ///
    /// Returns the problem and its place in the file.
    pub(super) fn read(path: &Path, document: &Document<'_>) -> Result<Self, String> {
        let service: api::Service = document.parse()?;
        let unknown = unknown::fields(&document.parse()?, &service);
        Ok(Self { path: path.to_owned(), service, unknown })
    }
}

/// What matters of this machine and the command line.
#[derive(Debug)]
pub(super) struct Here {
    /// The environment of this process.
    pub(super) environment: BTreeMap<String, String>,
    /// Returns whether there is a folder at a path.
    pub(super) is_folder: fn(&Path) -> bool,
    /// The domain of hosts at the gateway; `None` if there is no gateway.
    pub(super) domain: Option<String>,
    /// Whether images run although they have a command.
    pub(super) images: bool,
}

/// A service of this machine.
#[derive(Clone, Debug)]
pub(super) struct Made {
    pub(super) service: Service,
    /// The file that it comes from.
    pub(super) path: PathBuf,
    /// Whether it is reached by the name that the user chose. The others are revisions behind it.
    pub(super) is_public: bool,
}

/// What Services became.
#[derive(Debug, Default)]
pub(super) struct All {
    pub(super) services: Vec<Made>,
    pub(super) warnings: Vec<String>,
    pub(super) faults: Vec<ConfigError>,
}

/// A revision of a Service.
#[derive(Debug)]
struct Revision<'a> {
    name: String,
    path: &'a Path,
    /// The Service as it was then, with its defaults.
    service: api::Service,
}

/// Makes services of this machine, in the order in which they are given first.
pub(super) fn make(given: &[Given], here: &Here) -> All {
    let mut config = Config::default();
    config.domains.domains.extend(here.domain.iter().map(|domain| (domain.clone(), BTreeMap::new())));
    // The rest of this machine's settings is applied when the annotations are parsed.
    config.autoscaler.allow_zero_initial_scale = local_defaults().allow_zero_initial_scale;
    let mut all = All::default();
    let mut names = BTreeSet::new();
    for name in given.iter().map(|one| one.service.name_any()) {
        if names.insert(name.clone()) {
            let times = given.iter().filter(|one| one.service.name_any() == name);
            all.add(times, here, &config);
        }
    }
    all
}

impl All {
    /// Adds what a Service became, which is given at `times`.
    fn add<'a>(&mut self, times: impl Iterator<Item = &'a Given>, here: &Here, config: &Config) {
        let mut revisions: Vec<Revision<'_>> = Vec::new();
        let mut last: Option<(&Path, api::Service)> = None;
        let faults_before = self.faults.len();
        for Given { path, service, unknown } in times {
            let mut service = service.clone();
            service.metadata.namespace.get_or_insert_with(|| NAMESPACE.to_owned());
            defaults::service(&mut service, config);
            let before = last.as_ref().map(|(_, before)| before);
            if !unknown.is_empty() {
                let fields: Vec<String> =
                    unknown.iter().map(|path| format!("unknown field {path:?}")).collect();
                self.refuse(path, &service, vec![format!("strict decoding error: {}", fields.join(", "))]);
            }
            self.refuse(path, &service, examine(&service, before, config));
            if before.is_none_or(|before| before.spec.template != service.spec.template) {
                let name = revision_name(&service, revisions.len() + 1);
                revisions.push(Revision { name, path, service: service.clone() });
            }
            last = Some((path, service));
        }
        let Some((path, last)) = last.filter(|_| self.faults.len() == faults_before) else { return };
        match services(&last, path, &revisions, here, config) {
            Ok((services, warnings)) => {
                self.services.extend(services);
                self.warn(&last, warnings);
            }
            Err(problems) => self.refuse(path, &last, problems),
        }
    }

    fn warn(&mut self, service: &api::Service, warnings: Vec<String>) {
        let name = service.name_any();
        self.warnings.extend(warnings.into_iter().map(|warning| format!("{name}: {warning}")));
    }

    fn refuse(&mut self, path: &Path, service: &api::Service, problems: Vec<String>) {
        let name = service.name_any();
        let fault = |problem| ConfigError::Malformed {
            path: path.to_owned(),
            problem: format!("Service {name}: {problem}").replacen(
                "Service :",
                "a Service without a name:",
                1,
            ),
        };
        self.faults.extend(problems.into_iter().map(fault));
    }
}

/// Returns why a cluster would refuse a Service that was as `before`; its warnings are about clusters. One
/// machine has one namespace, and makes no names.
fn examine(service: &api::Service, before: Option<&api::Service>, config: &Config) -> Vec<String> {
    let text = service::faults(service, before, config).text();
    let mut problems: Vec<String> =
        text.map(|text| format!("validation failed: {text}")).into_iter().collect();
    let metadata = &service.metadata;
    if metadata.name.as_deref().unwrap_or_default().is_empty() && metadata.generate_name.is_some() {
        problems.push("metadata.generateName: only a cluster makes names; want metadata.name".to_owned());
    }
    if let Some(before) = before.filter(|before| before.metadata.namespace != metadata.namespace) {
        let other = before.namespace().unwrap_or_default();
        problems.push(format!(
            "metadata.namespace: there is one in {other} too; want each name in one namespace"
        ));
    }
    problems
}

/// Returns the name of the revision that a Service makes when it is given for the time `number`.
fn revision_name(service: &api::Service, number: usize) -> String {
    let metadata = service.spec.template.as_ref().and_then(|template| template.metadata.as_ref());
    let chosen = metadata.and_then(|metadata| metadata.name.clone()).filter(|name| !name.is_empty());
    chosen.unwrap_or_else(|| child(&service.name_any(), &format!("-{number:05}")))
}

/// Returns the services of this machine that a Service becomes, with warnings. If one revision gets all
/// requests, it has the Service's name. Otherwise this is the name of a route to those that get some.
///
/// # Errors
///
/// Returns everything that is wrong.
fn services(
    last: &api::Service,
    path: &Path,
    revisions: &[Revision<'_>],
    here: &Here,
    config: &Config,
) -> Result<(Vec<Made>, Vec<String>), Vec<String>> {
    let names: Vec<&str> = revisions.iter().map(|revision| revision.name.as_str()).collect();
    let shares = traffic::resolve(&last.spec.traffic, &names)?;
    let is_alone = shares.iter().filter(|share| share.is_used()).count() == 1;
    let (mut made, mut warnings, mut problems) = (Vec::new(), Vec::new(), Vec::new());
    if !is_alone {
        let split = traffic::split(&shares, &names);
        let mut service = blank(last.name_any());
        service.annotations.insert(ebb::SPLIT.name.to_owned(), split);
        let chosen = last.annotations().get_key_value(ebb::SPLIT_BY.name);
        service.annotations.extend(chosen.map(|(key, value)| (key.clone(), value.clone())));
        match expose(&mut service, last, &[""], config) {
            Ok(()) => made.push(Made { service, path: path.to_owned(), is_public: true }),
            Err(problem) => problems.push(problem),
        }
    }
    for (share, revision) in shares.iter().zip(revisions).filter(|(share, _)| share.is_used()) {
        let name = if is_alone { last.name_any() } else { revision.name.clone() };
        let tags = is_alone.then_some("").into_iter().chain(share.tags.iter().copied());
        let tags: Vec<&str> = tags.collect();
        match revision::make(name, revision, here, config) {
            Ok((mut service, more)) => {
                problems.extend(expose(&mut service, last, &tags, config).err());
                warnings.extend(more);
                made.push(Made { service, path: revision.path.to_owned(), is_public: is_alone });
            }
            Err(more) => problems.extend(more),
        }
    }
    if problems.is_empty() { Ok((made, warnings)) } else { Err(problems) }
}

/// Returns a service that says nothing yet.
fn blank(name: String) -> Service {
    Service {
        name,
        port: 0,
        command: Vec::new(),
        directory: None,
        environment: BTreeMap::new(),
        container: None,
        annotations: BTreeMap::new(),
    }
}

/// Adds the hosts of these tags of a Service; the empty tag is the Service itself.
fn expose(service: &mut Service, of: &api::Service, tags: &[&str], config: &Config) -> Result<(), String> {
    let mut route = Route::new(&of.name_any(), RouteSpec::default());
    route.metadata = of.metadata.clone();
    let mut hosts = Vec::new();
    for tag in tags {
        hosts.extend(address(&route, tag, &Seen::default(), config)?.public);
    }
    if !hosts.is_empty() {
        service.annotations.insert(ebb::HOSTS.name.to_owned(), hosts.join(", "));
    }
    Ok(())
}

#[cfg(test)]
mod tests;
