//! Reads a Service that divides its requests between other services.

use std::{collections::BTreeMap, num::NonZeroU16};

use ebb_annotations::{Fault, RouteSpec, keys, parse_route};
use ebb_decide::route::rollout::Progress;
use k8s_openapi::api::core::v1::Service;

use super::{Frontend, Refused, Verdict, drop_faults, own_selector, suits};

/// A Service that is a route.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct RouteClaim {
    pub(crate) front: Frontend,
    pub(crate) spec: RouteSpec,
    pub(crate) activator_port: Option<NonZeroU16>,
    /// Warnings about annotations that have no effect.
    pub(crate) warnings: Vec<String>,
}

/// Returns the progress of the route's rollout, as written on it; `None` if there is none or it cannot be read, which
/// counts as no rollout.
pub(crate) fn progress(service: &Service) -> Option<Progress> {
    service.metadata.annotations.as_ref()?.get(keys::ROLLOUT.name).and_then(|text| Progress::read(text))
}

/// The pace of a rollout whose pace cannot be read. It is also paused, so any value will do.
const PAUSED_FOR: &str = "24h";

/// Returns the last valid route, as Ebb wrote it down.
fn last_valid(
    name: &str,
    annotations: &BTreeMap<String, String>,
    faults: &[Fault],
    front: &Frontend,
) -> Option<RouteClaim> {
    let valid = annotations.get(keys::VALID_SPLIT.name)?;
    let mut rest = annotations.clone();
    let is_at_fault = |key: &str| faults.iter().any(|fault| fault.key == key);
    let is_pace_at_fault = is_at_fault(keys::SPLIT_DURATION.name) || is_at_fault(keys::ROLLOUT_PAUSED.name);
    drop_faults(&mut rest, faults);
    rest.insert(keys::SPLIT.name.to_owned(), valid.clone());
    if is_pace_at_fault && annotations.contains_key(keys::ROLLOUT.name) {
        // A rollout that is under way stays where it is; without a pace it would end at once.
        rest.insert(keys::SPLIT_DURATION.name.to_owned(), PAUSED_FOR.to_owned());
        rest.insert(keys::ROLLOUT_PAUSED.name.to_owned(), "true".to_owned());
    }
    let parsed = loop {
        match parse_route(name, &rest) {
            Ok(parsed) => break parsed,
            // What is left may depend on what was removed.
            Err(faults) => {
                let before = rest.clone();
                drop_faults(&mut rest, &faults);
                if rest == before || !rest.contains_key(keys::SPLIT.name) {
                    return None;
                }
            }
        }
    };
    let front = Frontend { exposure: parsed.exposure, ..front.clone() };
    let activator_port = parsed.activator_port;
    Some(RouteClaim { front, spec: parsed.spec, activator_port, warnings: Vec::new() })
}

/// Reads a Service that requests to be a route, and reports all faults at once.
pub(super) fn read(service: &Service, annotations: &BTreeMap<String, String>) -> Verdict {
    let name = service.metadata.name.as_deref().unwrap_or_default();
    let parsed = parse_route(name, annotations);
    let exposure = parsed.as_ref().map(|parsed| parsed.exposure.clone()).unwrap_or_default();
    let chosen = annotations.get(keys::PORT.name).map(String::as_str);
    let front = match &service.spec {
        None => Err("the Service has no spec".to_owned()),
        Some(spec) if own_selector(service).is_some() => Err(format!(
            "the Service has a selector ({}) and ebb.dev/split: a route has no pods of its own; remove one of the two",
            super::selector::to_text(&spec.selector.clone().unwrap_or_default())
        )),
        Some(spec) => {
            suits(spec).map_err(str::to_owned).and_then(|()| Frontend::read(service, spec, chosen, exposure))
        }
    };
    match (parsed, front) {
        (Ok(parsed), Ok(front)) => {
            let mut warnings: Vec<String> = parsed.warnings.iter().map(ToString::to_string).collect();
            warnings.extend(front.others.iter().map(|port| {
                let name = port.name.as_deref().unwrap_or_default();
                format!("port {name} leads nowhere: only requests to the HTTP port of a route are divided")
            }));
            let is_garbage = |text: &String| Progress::read(text).is_none();
            warnings.extend(annotations.get(keys::ROLLOUT.name).filter(|text| is_garbage(text)).map(
                |text| {
                    format!("{}: {text:?} is nothing that Ebb wrote, and has no effect", keys::ROLLOUT.name)
                },
            ));
            let activator_port = parsed.activator_port;
            Verdict::Route(Box::new(RouteClaim { front, spec: parsed.spec, activator_port, warnings }))
        }
        (parsed, front) => {
            let faults = parsed.err().unwrap_or_default();
            let mut reasons: Vec<String> = faults.iter().map(Fault::to_string).collect();
            let route = front.as_ref().ok().and_then(|front| last_valid(name, annotations, &faults, front));
            reasons.extend(front.err());
            Verdict::Refused(Refused { reasons, rest: None, route: route.map(Box::new) })
        }
    }
}
