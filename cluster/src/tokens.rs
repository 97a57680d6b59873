//! Authenticates clients: the API server says whom their token belongs to.

use std::time::Duration;

use k8s_openapi::api::authentication::v1::{TokenReview, TokenReviewSpec};
use kube::{Api, api::PostParams};
use parking_lot::Mutex;
use tokio::{
    sync::Semaphore,
    time::{sleep, timeout},
};

use crate::Calls;

/// Number of tokens to remember, for when the API server is unavailable.
const REMEMBERED: usize = 64;

/// Maximum number of concurrent requests to the API server.
const AT_ONCE: usize = 8;
/// A refused client keeps its place for this long.
const PENALTY: Duration = Duration::from_millis(500);
/// Time limit for getting a place.
const PLACE_WITHIN: Duration = Duration::from_secs(2);
/// Maximum length of a token, in bytes; those of Kubernetes have about one thousand.
const MAX_TOKEN: usize = 8192;

/// The tokens to accept.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// The audience that a token must be for.
    pub audience: &'static str,
    /// The ServiceAccount that a token must belong to.
    pub account: &'static str,
    /// The namespace of that ServiceAccount.
    pub namespace: String,
}

/// Admits clients with a token of one ServiceAccount.
#[derive(Debug)]
pub struct TokenGate {
    calls: Calls,
    wanted: Wanted,
    /// A refused client keeps its place for a while, so that unauthorized clients cannot cause unlimited requests to
    /// the API server.
    places: Semaphore,
    /// Tokens that were valid when they were last reviewed, the oldest first.
    known: Mutex<Vec<String>>,
}

impl TokenGate {
    /// Returns a gate for the tokens in `wanted`.
    pub fn new(calls: Calls, wanted: Wanted) -> Self {
        Self { calls, wanted, places: Semaphore::new(AT_ONCE), known: Mutex::default() }
    }

    /// Admits a client with `token`. While the API server is unavailable, a token that was admitted before is
    /// admitted again.
    ///
    /// # Errors
    ///
    /// Returns why not, as a text for the log and for the client.
    pub async fn admit(&self, token: Option<&str>) -> Result<(), String> {
        let token = token
            .filter(|token| token.len() <= MAX_TOKEN)
            .ok_or_else(|| format!("no token; want that of the ServiceAccount {}", self.wanted.account))?;
        let place = timeout(PLACE_WITHIN, self.places.acquire()).await;
        let _place =
            place.map_err(|_| "too many ask at once; try again")?.map_err(|error| error.to_string())?;
        let review = TokenReview {
            spec: TokenReviewSpec {
                token: Some(token.to_owned()),
                audiences: Some(vec![self.wanted.audience.to_owned()]),
            },
            ..TokenReview::default()
        };
        let api: Api<TokenReview> = Api::all(self.calls.client.clone());
        let params = PostParams::default();
        let verdict = match self.calls.call("tokenreview", api.create(&params, &review)).await {
            Ok(review) => self.judge(&review),
            // The API server is needed but unavailable: admit tokens that were valid before.
            Err(error) if self.known.lock().iter().any(|known| known == token) => {
                tracing::warn!(%error, "cannot review a token; admitting it by an earlier review");
                return Ok(());
            }
            Err(error) => return Err(format!("cannot review the token: {error}")),
        };
        if verdict.is_err() {
            sleep(PENALTY).await;
        }
        let mut known = self.known.lock();
        known.retain(|known| known != token);
        if verdict.is_ok() {
            if known.len() == REMEMBERED {
                known.remove(0);
            }
            known.push(token.to_owned());
        }
        verdict
    }

    fn judge(&self, review: &TokenReview) -> Result<(), String> {
        let status = review.status.as_ref().ok_or("the API server said nothing")?;
        let user = status.user.as_ref().and_then(|user| user.username.as_deref()).unwrap_or_default();
        let is_for_us = status.audiences.iter().flatten().any(|audience| audience == self.wanted.audience);
        if status.authenticated != Some(true) || !is_for_us {
            return Err(format!(
                "the token is not good for {}: {}",
                self.wanted.audience,
                status.error.as_deref().unwrap_or("no reason given")
            ));
        }
        let wanted = format!("system:serviceaccount:{}:{}", self.wanted.namespace, self.wanted.account);
        if user == wanted { Ok(()) } else { Err(format!("{user} is not {wanted}")) }
    }
}
