//! What a Service is bound to: its scale target, and what Ebb recorded in annotations.

use std::{fmt, num::NonZeroU16, str::FromStr};

use super::{
    fault::{Fault, FaultKind},
    keys,
    reading::{Reading, Texts},
    syntax::{Syntax, Unreadable},
};

/// The longest name of a Kubernetes object, in bytes.
const MAX_NAME: usize = 253;
/// The longest name of a kind, in bytes.
const MAX_KIND: usize = 63;

/// The annotations that bind a Service to its pods.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Binding {
    /// The object that is scaled; `None` if no annotation names one.
    pub scale_target: Option<ScaleTarget>,
    /// The Service's own selector, as Ebb recorded it.
    pub selector: Option<String>,
    /// The port on which activators serve the Service.
    pub activator_port: Option<NonZeroU16>,
    /// The Service's port that Ebb takes over, by name or number; `None` means its first HTTP port.
    pub port: Option<String>,
    /// How pods get their queue-proxy.
    pub sidecar: Sidecar,
    /// Whether pods that do not say get a service-account token; `None` leaves it to the cluster.
    pub mount_token: Option<bool>,
    /// Whether pods older than the annotation are replaced.
    pub restart: bool,
}

/// How pods get their queue-proxy.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Sidecar {
    /// As the last ordinary container, which starts fastest.
    #[default]
    Ordinary,
    /// As a native sidecar, which starts before the app and ends after it. Each cold start then waits for the
    /// kubelet's next sync of the pod.
    Native,
    /// No queue-proxy: activators count requests and send them directly to the pods.
    None,
}

impl Syntax for Sidecar {
    const NOUN: &'static str = "a kind of sidecar";

    fn read(text: &str) -> Result<Self, Unreadable> {
        match text {
            "ordinary" => Ok(Self::Ordinary),
            "native" => Ok(Self::Native),
            "none" => Ok(Self::None),
            _ => Err(Unreadable::Malformed),
        }
    }
}

/// An object with a scale subresource, in the Service's namespace.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ScaleTarget {
    /// The object's kind, for example `Deployment`.
    pub kind: String,
    /// The object's name.
    pub name: String,
}

impl fmt::Display for ScaleTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.kind, self.name)
    }
}

impl FromStr for ScaleTarget {
    type Err = Unreadable;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.split_once('/')
            .filter(|(kind, name)| is_kind(kind) && is_object_name(name))
            .map(|(kind, name)| Self { kind: kind.to_owned(), name: name.to_owned() })
            .ok_or(Unreadable::Malformed)
    }
}

impl Syntax for ScaleTarget {
    const NOUN: &'static str = "a scale target";

    fn read(text: &str) -> Result<Self, Unreadable> {
        text.parse()
    }
}

/// Returns the number that the owner gave the state of a Service; `None` if it gave none, or an invalid one.
pub fn read_generation(annotations: &Texts) -> Option<i64> {
    generation(annotations, &mut Vec::new())
}

/// Reads that number, and adds its fault to `faults`.
pub(super) fn generation(annotations: &Texts, faults: &mut Vec<Fault>) -> Option<i64> {
    let reading: Reading<'_, i64> = Reading::find(annotations, &keys::GENERATION)?;
    let fault = reading.below(0);
    let value = reading.value.ok().filter(|_| fault.is_none());
    faults.extend(fault);
    value
}

/// Reads the binding, and adds its faults to `faults`.
pub(super) fn read(texts: &Texts, faults: &mut Vec<Fault>) -> Binding {
    let scale_target: Option<Reading<'_, ScaleTarget>> = Reading::find(texts, &keys::SCALE_TARGET);
    let activator_port: Option<Reading<'_, i32>> = Reading::find(texts, &keys::ACTIVATOR_PORT);
    let selector: Option<Reading<'_, String>> = Reading::find(texts, &keys::SELECTOR);
    faults.extend(scale_target.as_ref().and_then(|target| {
        let want = "Kind/name, for example Deployment/hello";
        target.value.as_ref().err().map(|why| target.unreadable(*why, want))
    }));
    faults.extend(activator_port.as_ref().and_then(|port| port.outside(1, i32::from(u16::MAX))));
    faults.extend(selector.as_ref().filter(|selector| selector.text.is_empty()).map(|selector| {
        selector.fault(FaultKind::Invalid, "selects nothing", "a selector, as written by Ebb")
    }));
    let sidecar: Option<Reading<'_, Sidecar>> = Reading::find(texts, &keys::SIDECAR);
    faults.extend(sidecar.as_ref().and_then(|sidecar| {
        sidecar.value.as_ref().err().map(|why| sidecar.unreadable(*why, "ordinary, native or none"))
    }));
    // Its value is read by those who confirm it.
    generation(texts, faults);
    let own_port: Option<Reading<'_, String>> = Reading::find(texts, &keys::PORT);
    faults.extend(own_port.as_ref().filter(|port| port.text.is_empty()).map(|port| {
        port.fault(FaultKind::Invalid, "names no port", "the name or the number of a port of the Service")
    }));
    let mut flag = |key| {
        let reading: Option<Reading<'_, bool>> = Reading::find(texts, key);
        faults.extend(reading.as_ref().and_then(Reading::no_value));
        reading.and_then(|reading| reading.value.ok())
    };
    let (mount_token, restart) = (flag(&keys::MOUNT_TOKEN), flag(&keys::RESTART).unwrap_or(false));
    let port = activator_port.and_then(|port| u16::try_from(port.value.ok()?).ok());
    Binding {
        scale_target: scale_target.and_then(|target| target.value.ok()),
        selector: selector.map(|selector| selector.text.to_owned()),
        activator_port: port.and_then(NonZeroU16::new),
        port: own_port.map(|port| port.text.to_owned()),
        sidecar: sidecar.and_then(|sidecar| sidecar.value.ok()).unwrap_or_default(),
        mount_token,
        restart,
    }
}

/// Returns whether `kind` is `CamelCase`, of letters and digits.
fn is_kind(kind: &str) -> bool {
    kind.len() <= MAX_KIND
        && kind.starts_with(|c: char| c.is_ascii_uppercase())
        && kind.bytes().all(|b| b.is_ascii_alphanumeric())
}

/// Returns whether `name` is an RFC 1123 subdomain, as most object names are.
pub(super) fn is_object_name(name: &str) -> bool {
    let is_alphanumeric = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    name.len() <= MAX_NAME
        && name.split('.').all(|label| {
            label.bytes().all(|b| is_alphanumeric(b) || b == b'-')
                && label.bytes().next().is_some_and(is_alphanumeric)
                && label.bytes().next_back().is_some_and(is_alphanumeric)
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scale_targets_are_a_kind_and_a_name() {
        for text in ["Deployment/hello", "StatefulSet/a.b-1", "MyKind2/0"] {
            assert_eq!(text.parse::<ScaleTarget>().map(|t| t.to_string()), Ok(text.to_owned()));
        }
        for text in
            ["", "hello", "/hello", "Deployment/", "deployment/a", "A/b/c", "A/-b", "A/b.", "A/B", "A B/c"]
        {
            assert_eq!(text.parse::<ScaleTarget>(), Err(Unreadable::Malformed), "{text:?}");
        }
    }
}
