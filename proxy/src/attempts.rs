//! Whether a request that was not served may be sent once more. Nothing else decides that.

use ebb_core::fate::Fate;
use http::{Method, request};

use crate::body::RequestBody;

/// A peer that refuses this often refuses for good: it is asked no more.
const MOST_REFUSALS: u32 = 3;

/// What was tried for one request.
#[derive(Clone, Copy, Debug)]
pub struct Attempts {
    /// How often it may have reached an app.
    maybe_sent: u32,
    refused: u32,
    /// How often it may reach one in all.
    most: u32,
}

impl Attempts {
    /// Of a hop that sees to repeats: a request that is safe to repeat is sent at most twice.
    pub const fn here() -> Self {
        Self { maybe_sent: 0, refused: 0, most: 2 }
    }

    /// Of a hop behind another that sees to them: whatever may have reached the app is its to decide on.
    pub const fn before_another() -> Self {
        Self { maybe_sent: 0, refused: 0, most: 1 }
    }

    /// What became of the request in all: what may have been sent once may have been sent, whatever came after.
    pub const fn fate(&self, last: Fate) -> Fate {
        match last {
            Fate::NeverSent | Fate::RefusedByPeer if self.maybe_sent > 0 => Fate::MaybeSent,
            last => last,
        }
    }

    /// Whether the request of `head` and `body`, of which one try ended so, may be sent once more.
    pub fn again(&mut self, fate: Fate, head: &request::Parts, body: &RequestBody) -> bool {
        match fate {
            Fate::Answered => return false,
            Fate::NeverSent => {}
            Fate::RefusedByPeer => self.refused += 1,
            Fate::MaybeSent => self.maybe_sent += 1,
        }
        let harmless = self.maybe_sent == 0 || is_safe(head);
        harmless && self.maybe_sent < self.most && self.refused < MOST_REFUSALS && body.can_be_replayed()
    }
}

/// Whether sending a request twice does no harm (RFC 9110, section 9.2.1). A switch of protocols is none that could be
/// repeated.
fn is_safe(head: &request::Parts) -> bool {
    let safe = matches!(head.method, Method::GET | Method::HEAD | Method::OPTIONS | Method::TRACE);
    safe && !head.headers.contains_key(http::header::UPGRADE)
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    fn head(method: Method) -> request::Parts {
        Request::builder().method(method).body(()).unwrap().into_parts().0
    }

    /// How often `method` is sent, where each try ends as `fates` says.
    fn sent(mut attempts: Attempts, method: Method, fates: &[Fate]) -> (usize, Fate) {
        let (head, body) = (head(method), RequestBody::empty());
        let mut last = Fate::Answered;
        for (tries, fate) in fates.iter().enumerate() {
            last = *fate;
            if !attempts.again(*fate, &head, &body) {
                return (tries + 1, attempts.fate(last));
            }
        }
        (fates.len(), attempts.fate(last))
    }

    use Fate::{Answered, MaybeSent, NeverSent, RefusedByPeer};

    #[test]
    fn what_never_reached_an_app_goes_on_being_sent() {
        let never = [NeverSent; 50];
        for method in [Method::GET, Method::POST] {
            assert_eq!(sent(Attempts::here(), method, &never), (50, NeverSent));
        }
        assert_eq!(sent(Attempts::here(), Method::POST, &[NeverSent, Answered, NeverSent]), (2, Answered));
        assert_eq!(sent(Attempts::here(), Method::POST, &[RefusedByPeer; 50]), (3, RefusedByPeer));
    }

    #[test]
    fn what_may_have_reached_one_is_sent_once_more_at_most_and_only_if_that_does_no_harm() {
        assert_eq!(sent(Attempts::here(), Method::GET, &[MaybeSent; 50]), (2, MaybeSent));
        assert_eq!(sent(Attempts::here(), Method::POST, &[MaybeSent; 50]), (1, MaybeSent));
        assert_eq!(sent(Attempts::before_another(), Method::GET, &[MaybeSent; 50]), (1, MaybeSent));
    }

    #[test]
    fn what_may_have_been_sent_once_may_have_been_sent_whatever_came_after() {
        let fates = [MaybeSent, NeverSent, NeverSent, MaybeSent, NeverSent];
        assert_eq!(sent(Attempts::here(), Method::GET, &fates), (4, MaybeSent));
        assert_eq!(sent(Attempts::here(), Method::GET, &fates[..3]), (3, MaybeSent));
    }
}
