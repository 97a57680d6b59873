use std::str::FromStr;

use thiserror::Error;

/// What becomes of a response whose head has been sent when its time is over.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum LateResponse {
    /// It is cut, so that nobody mistakes a part for the whole.
    #[default]
    Cut,
    /// It ends as if it were whole, unless its head says how long it is. That is what Knative does.
    End,
}

/// The error for a text that is no fate of a late response.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("want cut or end")]
pub struct UnknownFate;

impl LateResponse {
    /// Returns its name in annotations and in the environment.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Cut => "cut",
            Self::End => "end",
        }
    }
}

impl FromStr for LateResponse {
    type Err = UnknownFate;

    fn from_str(text: &str) -> Result<Self, UnknownFate> {
        [Self::Cut, Self::End].into_iter().find(|fate| fate.word() == text).ok_or(UnknownFate)
    }
}
