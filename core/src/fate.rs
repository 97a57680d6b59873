//! What happened to a request, as far as its sender can know. Whether it may be sent again depends only on this.

use http::HeaderMap;

use crate::headers;

/// What happened to a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fate {
    /// Nothing of it was sent: it may go anywhere.
    NeverSent,
    /// Its peer reported that it did not process it: it may go elsewhere.
    RefusedByPeer,
    /// Some of it was sent, and no answer came: the app may have processed it.
    MaybeSent,
    /// An answer was received.
    Answered,
}

impl Fate {
    /// Returns its value in [`headers::FATE`].
    pub const fn word(self) -> &'static str {
        match self {
            Self::NeverSent => "never-sent",
            Self::RefusedByPeer => "refused-by-peer",
            Self::MaybeSent => "maybe-sent",
            Self::Answered => "answered",
        }
    }

    /// Returns the fate that the next hop reports in the head of its answer; an answer without the header is the app's.
    /// Use it only for answers of a queue-proxy, which removes the header from what its app sends.
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
