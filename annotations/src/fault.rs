use std::fmt;

/// What is wrong with a setting; the kinds are those that the reference's admission tells apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum FaultKind {
    /// The text is none of the values allowed.
    Invalid,
    /// A value of the right type outside its range.
    OutOfBounds,
    /// Good on its own, but not at this precision or beside another setting.
    Other,
}

/// A setting that cannot stay as it is.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{key}: {value:?} {problem}; want {want}")]
pub struct Fault {
    /// The annotation, or the key of the cluster's settings, as it was spelled.
    pub key: String,
    /// Its value; empty where a missing one is the fault.
    pub value: String,
    /// What sort of fault this is.
    pub kind: FaultKind,
    /// What is wrong, to follow the value in a sentence.
    pub problem: String,
    /// What is allowed.
    pub want: String,
}

/// A setting that has no effect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Warning {
    /// The unknown key.
    pub key: String,
    /// What would have one.
    pub hint: Option<Hint>,
}

/// What was probably meant by a key that has no effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hint {
    /// The annotation of this name.
    Annotation(&'static str),
    /// The cluster's setting of this name, which no service has for itself.
    Cluster(&'static str),
    /// The same on the services between which a route divides its requests: the route itself has no pods.
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
