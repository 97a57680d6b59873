//! Carries what activators have applied from the autoscaler to the task, without either waiting for the other.

use std::{collections::BTreeMap, mem};

use ebb_core::ServiceKey;
use ebb_decide::platform::Applied;
use parking_lot::Mutex;
use tokio::sync::Notify;

/// The latest news of each Service that the task has not taken yet. Only Services that were asked about have any.
#[derive(Debug, Default)]
pub(crate) struct Confirmed {
    news: Mutex<BTreeMap<ServiceKey, (u64, Applied)>>,
    arrived: Notify,
}

impl Confirmed {
    /// Adds the answer to the question `ask`, in place of earlier news of the Service.
    pub(crate) fn put(&self, service: &ServiceKey, ask: u64, applied: Applied) {
        self.news.lock().insert(service.clone(), (ask, applied));
        self.arrived.notify_one();
    }

    /// Waits for news, and takes them all. Nothing is lost if the future is dropped.
    pub(crate) async fn take(&self) -> BTreeMap<ServiceKey, (u64, Applied)> {
        loop {
            let news = mem::take(&mut *self.news.lock());
            if !news.is_empty() {
                return news;
            }
            self.arrived.notified().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::{Duration, timeout};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_latest_of_each_service_is_taken_once() {
        let confirmed = Confirmed::default();
        let (one, two) = (ServiceKey::new("shop", "one"), ServiceKey::new("shop", "two"));
        confirmed.put(&one, 1, Applied::Nowhere);
        confirmed.put(&two, 2, Applied::Nowhere);
        confirmed.put(&one, 3, Applied::Everywhere);
        let wanted = [(one.clone(), (3, Applied::Everywhere)), (two, (2, Applied::Nowhere))];
        assert_eq!(confirmed.take().await, wanted.into());
        let second = Duration::from_secs(1);
        assert!(timeout(second, confirmed.take()).await.is_err(), "there is no more news");
        confirmed.put(&one, 4, Applied::Nowhere);
        assert_eq!(confirmed.take().await, [(one, (4, Applied::Nowhere))].into());
    }
}
