//! The cluster's time. The local clock may be wrong, and times to compare with it come from the cluster.

use ebb_proxy::WallClock;
use http::{Request, header};
use jiff::{Timestamp, fmt::rfc2822};
use kube::client::Body;

use super::Cluster;

/// Returns the API server's time, to the second; the local time if it sends none.
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
