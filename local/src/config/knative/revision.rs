//! A revision as a service of this machine.

use ebb_annotations::keys as ebb;
use ebb_serving::{
    api,
    config::Config,
    revision::{annotations, protocol, serving},
};

use super::{Here, Revision, blank, container, readiness};
use crate::config::Service;

/// The name of a port whose app speaks HTTP/2 without TLS, which is also the value of Ebb's annotation.
const H2C: &str = "h2c";

/// Returns the service `name` that runs `revision`, with warnings.
///
/// # Errors
///
/// Returns everything of the revision that one machine cannot do.
pub(super) fn make(
    name: String,
    revision: &Revision<'_>,
    here: &Here,
    config: &Config,
) -> Result<(Service, Vec<String>), Vec<String>> {
    let template = revision.service.spec.template.clone().unwrap_or_default();
    let spec = template.spec.unwrap_or_default();
    let (container, mut warnings) = container::make(&spec, revision, here)?;
    let mut stored = api::Revision::new(&revision.name, spec);
    stored.metadata.annotations = template.metadata.map(|metadata| metadata.annotations);
    let mut service = blank(name);
    service.container = Some(container);
    service.annotations = annotations(&stored, config);
    // There is no Deployment.
    service.annotations.remove(ebb::SCALE_TARGET.name);
    let protocol = protocol(&stored.spec).filter(|name| *name == H2C).map(str::to_owned);
    let probe = serving(&stored.spec).and_then(|container| container.readiness_probe.as_ref());
    let (path, lost) = probe.map(|probe| readiness::of(probe, &stored.spec)).unwrap_or_default();
    warnings.extend(lost);
    for (key, value) in [(ebb::APP_PROTOCOL, protocol), (ebb::READINESS_PATH, path)] {
        if let Some(value) = value {
            service.annotations.entry(key.name.to_owned()).or_insert(value);
        }
    }
    Ok((service, warnings))
}
