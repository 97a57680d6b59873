//! Decides whether a request that was not served may be sent again. No other code decides that.

use ebb_core::fate::Fate;
use http::{Method, request};

use crate::body::RequestBody;

/// After this many refusals by a peer, the request is not sent to it again: a peer that refuses this often usually
/// keeps refusing.
const MOST_REFUSALS: u32 = 3;

/// The attempts for one request.
#[derive(Clone, Copy, Debug)]
pub struct Attempts {
    /// How often the request may have reached an app.
    maybe_sent: u32,
    refused: u32,
    /// How often the request may reach an app in total.
    most: u32,
}

impl Attempts {
    /// Attempts of a hop that repeats requests itself: a request that is safe to repeat is sent at most twice.
    pub const fn here() -> Self {
        Self { maybe_sent: 0, refused: 0, most: 2 }
    }

    /// Attempts of a hop behind another hop that repeats requests: only the hop in front repeats a request that may
    /// have reached the app.
    pub const fn before_another() -> Self {
        Self { maybe_sent: 0, refused: 0, most: 1 }
    }

    /// Returns the fate of the request over all attempts. If any attempt may have been sent, the request may have
    /// been sent.
    pub const fn fate(&self, last: Fate) -> Fate {
        match last {
            Fate::NeverSent | Fate::RefusedByPeer if self.maybe_sent > 0 => Fate::MaybeSent,
            last => last,
        }
    }

    /// Returns whether the request of `head` and `body` may be sent again after an attempt that ended with `fate`.
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

/// Returns whether it does no harm to send a request twice (RFC 9110, section 9.2.1). A request to switch protocols
/// cannot be repeated.
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

    /// Returns how often a `method` request is sent if its attempts end with `fates`.
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
