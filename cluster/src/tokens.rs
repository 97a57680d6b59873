//! Who somebody is: whoever the API server says has the token that they bring.

use std::time::Duration;

use k8s_openapi::api::authentication::v1::{TokenReview, TokenReviewSpec};
use kube::{Api, api::PostParams};
use parking_lot::Mutex;
use tokio::{
    sync::Semaphore,
    time::{sleep, timeout},
};

use crate::Calls;

/// Tokens that are remembered, for times when the API server cannot be asked.
const REMEMBERED: usize = 64;

/// Questions to the API server at once.
const AT_ONCE: usize = 8;
/// Whoever is refused keeps its place for so long.
const PENALTY: Duration = Duration::from_millis(500);
/// A place must be free by then.
const PLACE_WITHIN: Duration = Duration::from_secs(2);
/// Longest token that is looked at, in bytes; those of Kubernetes have about one thousand.
const MAX_TOKEN: usize = 8192;

/// Whose tokens are good.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// Whom a token must be for.
    pub audience: &'static str,
    /// The ServiceAccount that it must be of, ...
    pub account: &'static str,
    /// ... and its namespace.
    pub namespace: String,
}

/// Lets those in who bring a token of one ServiceAccount.
#[derive(Debug)]
pub struct TokenGate {
    calls: Calls,
    wanted: Wanted,
    /// Whoever is refused keeps a place for a while: strangers do not make us ask the API server without end.
    places: Semaphore,
    /// Tokens that were good when they were last asked about, the oldest first.
    known: Mutex<Vec<String>>,
}

impl TokenGate {
    /// For those who are `wanted`.
    pub fn new(calls: Calls, wanted: Wanted) -> Self {
        Self { calls, wanted, places: Semaphore::new(AT_ONCE), known: Mutex::default() }
    }

    /// Whether whoever brings `token` may come in. Whoever did before may while the API server cannot be asked.
    ///
    /// # Errors
    ///
    /// Why not, in words for the log and for who asked.
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
            // The API server's word is wanted, and cannot be had: who was good may come back.
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
