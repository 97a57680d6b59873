//! Who may open an activator's stream: whoever the API server says is the activators' ServiceAccount.

use std::time::Duration;

use k8s_openapi::api::authentication::v1::{TokenReview, TokenReviewSpec};
use kube::{Api, api::PostParams};
use parking_lot::Mutex;
use tokio::{
    sync::Semaphore,
    time::{sleep, timeout},
};

use super::write::Writer;

/// Whom a token must be for.
const AUDIENCE: &str = "ebb-autoscaler";
/// The activators' ServiceAccount.
const ACCOUNT: &str = "ebb-activator";
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

/// Asks the API server who somebody is.
#[derive(Debug)]
pub(super) struct TokenGate {
    writer: Writer,
    user: String,
    /// Whoever is refused keeps a place for a while: strangers do not make us ask the API server without end.
    places: Semaphore,
    /// Tokens that were good when they were last asked about, the oldest first.
    known: Mutex<Vec<String>>,
}

impl TokenGate {
    pub(super) fn new(writer: Writer, namespace: &str) -> Self {
        let user = format!("system:serviceaccount:{namespace}:{ACCOUNT}");
        Self { writer, user, places: Semaphore::new(AT_ONCE), known: Mutex::default() }
    }

    pub(super) async fn admit(&self, token: Option<&str>) -> Result<(), String> {
        let token = token
            .filter(|token| token.len() <= MAX_TOKEN)
            .ok_or("no token; an activator brings that of its ServiceAccount (EBB_TOKEN_FILE)")?;
        let place = timeout(PLACE_WITHIN, self.places.acquire()).await;
        let _place =
            place.map_err(|_| "too many ask at once; try again")?.map_err(|error| error.to_string())?;
        let review = TokenReview {
            spec: TokenReviewSpec {
                token: Some(token.to_owned()),
                audiences: Some(vec![AUDIENCE.to_owned()]),
            },
            ..TokenReview::default()
        };
        let api: Api<TokenReview> = Api::all(self.writer.client.clone());
        let params = PostParams::default();
        let verdict = match self.writer.call("tokenreview", api.create(&params, &review)).await {
            Ok(review) => self.judge(&review),
            // The API server's word is wanted, and cannot be had: who was good may come back.
            Err(error) if self.known.lock().iter().any(|known| known == token) => {
                tracing::warn!(%error, "taking an activator by what was known of it");
                return Ok(());
            }
            Err(error) => return Err(format!("cannot ask who this is: {error}")),
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
        let is_for_us = status.audiences.iter().flatten().any(|audience| audience == AUDIENCE);
        if status.authenticated != Some(true) || !is_for_us {
            return Err(format!(
                "the token is not good for {AUDIENCE}: {}",
                status.error.as_deref().unwrap_or("no reason given")
            ));
        }
        if user == self.user { Ok(()) } else { Err(format!("{user} is not {}", self.user)) }
    }
}
