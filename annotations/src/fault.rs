use std::fmt;

/// The kind of a fault, as the reference's admission tells them apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum FaultKind {
    /// The text is not an allowed value.
    Invalid,
    /// The value has the right type, but is outside its range.
    OutOfBounds,
    /// The value is valid by itself, but has too much precision or contradicts another setting.
    Other,
}

/// A fault of a setting that must be fixed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{key}: {value:?} {problem}; want {want}")]
pub struct Fault {
    /// The annotation, or the key of the cluster's settings, as it was spelled.
    pub key: String,
    /// Its value; empty if it is missing.
    pub value: String,
    /// The kind of the fault.
    pub kind: FaultKind,
    /// What is wrong, phrased to follow the value in a sentence.
    pub problem: String,
    /// What is allowed.
    pub want: String,
}

/// A setting that has no effect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Warning {
    /// The unknown key.
    pub key: String,
    /// What was probably meant.
    pub hint: Option<Hint>,
}

/// What was probably meant by a key that has no effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hint {
    /// The annotation of this name.
    Annotation(&'static str),
    /// The cluster-wide setting of this name, which services cannot override.
    Cluster(&'static str),
    /// The same annotation on the targets of a route: the route itself has no pods.
    OfItsServices,
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.hint == Some(Hint::OfItsServices) {
            let key = &self.key;
            return write!(f, "{key}: has no effect on a route; it belongs on the services of its split");
        }
        write!(f, "{}: unknown, has no effect", self.key)?;
        match self.hint {
            Some(Hint::Annotation(name)) => write!(f, "; did you mean {name}?"),
            Some(Hint::Cluster(name)) => {
                write!(f, "; {name} is a setting of the whole cluster, in its ConfigMap ebb-config")
            }
            Some(Hint::OfItsServices) | None => Ok(()),
        }
    }
}
