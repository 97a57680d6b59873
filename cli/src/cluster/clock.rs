//! The cluster's time. The clock here may be wrong, and what is compared with it was written there.

use ebb_proxy::WallClock;
use http::{Request, header};
use jiff::{Timestamp, fmt::rfc2822};
use kube::client::Body;

use super::Cluster;

/// What time the API server has, to the second; ours if it does not say.
pub(crate) async fn now(cluster: &Cluster) -> Timestamp {
    let asked = async {
        let request = Request::get("/version").body(Body::empty()).map_err(kube::Error::HttpError)?;
        cluster.client.send(request).await
    };
    let answer = cluster.call("asking for the time", asked).await;
    let date = answer.ok().and_then(|answer| {
        let date = answer.headers().get(header::DATE)?.to_str().ok()?;
        rfc2822::parse(date).ok()
    });
    date.map_or_else(local, |date| date.timestamp())
}

fn local() -> Timestamp {
    let since = WallClock::start().now().since_epoch();
    i64::try_from(since.as_secs())
        .ok()
        .and_then(|seconds| Timestamp::from_second(seconds).ok())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_date_of_an_answer_is_understood() {
        let date = rfc2822::parse("Sun, 22 Nov 2026 21:05:45 GMT").unwrap();
        assert_eq!(date.timestamp(), "2026-11-22T21:05:45Z".parse().unwrap());
    }
}
