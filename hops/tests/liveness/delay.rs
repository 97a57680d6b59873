//! A slow network loses nothing, and causes no request to be sent twice.

use std::time::Duration;

use ebb_hops::{
    Hops,
    app::{App, Script},
    client::Client,
    net::in_a_net,
    pod_at,
};

use crate::within;

/// A connection and a response take two round trips.
const TWO_WAYS: Duration = Duration::from_millis(400);
const SLOW: Duration = Duration::from_secs(3);

const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

#[test]
fn a_request_through_both_hops_over_a_slow_link_is_sent_once() {
    in_a_net(1, async |net| {
        let spoke = &net.spokes[0];
        let there = spoke.there;
        let (app, _sidecar, pod) = spoke
            .run(async move {
                let app = App::start(Script::answering(OK)).await;
                let (sidecar, pod) = pod_at(there, app.address).await;
                (app, sidecar, pod)
            })
            .await;
        let hops = Hops::before(std::net::Ipv4Addr::LOCALHOST.into(), &[pod]).await;
        if !spoke.delay(200) {
            println!("skipped: this kernel, or its `tc`, cannot delay packets");
            return;
        }
        for (number, request) in [
            "GET / HTTP/1.1\r\nhost: a\r\n\r\n",
            "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\n\r\nhello",
        ]
        .into_iter()
        .enumerate()
        {
            // Each client opens its own connections.
            let mut client = Client::connect(hops.entry).await;
            let (answer, took) = within(SLOW, "a request", client.ask(request)).await;
            assert_eq!((answer.status, answer.fault.as_deref()), (200, None), "{answer:?}");
            assert!(took >= TWO_WAYS / 2, "{took:?}: nothing was slow");
            assert_eq!(app.seen().len(), number + 1);
        }
    });
}
