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
    /// The known key that was probably meant.
    pub nearest: Option<&'static str>,
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: unknown, has no effect", self.key)?;
        self.nearest.map_or(Ok(()), |nearest| write!(f, "; did you mean {nearest}?"))
    }
}
