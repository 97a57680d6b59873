//! What became of a request, as far as its sender can know. Whether it may be sent once more turns on this alone.

use http::HeaderMap;

use crate::headers;

/// What became of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fate {
    /// Not a byte of it was written: it may go anywhere.
    NeverSent,
    /// Its peer has said that it did nothing with it: it may go elsewhere.
    RefusedByPeer,
    /// Some of it was written, and no answer came: its app may have done what it asks for.
    MaybeSent,
    /// An answer came.
    Answered,
}

impl Fate {
    /// The word for it in [`headers::FATE`].
    pub const fn word(self) -> &'static str {
        match self {
            Self::NeverSent => "never-sent",
            Self::RefusedByPeer => "refused-by-peer",
            Self::MaybeSent => "maybe-sent",
            Self::Answered => "answered",
        }
    }

    /// What the hop behind says in the head of its own answer became of the request; an answer without its word is the
    /// app's. To be asked of a queue-proxy only, which strips the header from what its app says.
    pub fn told(answer: &HeaderMap) -> Self {
        let said = answer.get(headers::FATE);
        let known = [Self::NeverSent, Self::RefusedByPeer, Self::MaybeSent];
        known.into_iter().find(|fate| said.is_some_and(|said| said == fate.word())).unwrap_or(Self::Answered)
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn what_one_hop_says_the_other_understands() {
        for fate in [Fate::NeverSent, Fate::RefusedByPeer, Fate::MaybeSent, Fate::Answered] {
            let value = HeaderValue::from_static(fate.word());
            assert_eq!(Fate::told(&HeaderMap::from_iter([(headers::FATE, value)])), fate);
        }
        let nonsense = HeaderMap::from_iter([(headers::FATE, HeaderValue::from_static("lost"))]);
        assert_eq!(Fate::told(&nonsense), Fate::Answered);
        assert_eq!(Fate::told(&HeaderMap::new()), Fate::Answered);
    }
}
