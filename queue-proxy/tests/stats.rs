//! The port for scrapes.
#![allow(clippy::unwrap_used, reason = "what fails here fails the test")]

mod support;

use ebb_core::stat::Stat;
use http::{Method, Request, StatusCode};
use prost::Message;
use support::*;

fn scrape(accept: Option<&str>) -> Request<AnyBody> {
    let mut request = Request::get("/metrics").body(empty()).unwrap();
    if let Some(accept) = accept {
        request.headers_mut().insert("accept", accept.parse().unwrap());
    }
    request
}

/// Scrapes until the first second has passed, before which there is no report.
async fn first_report(pod: &Pod) -> Stat {
    within(async {
        loop {
            let stat = pod.stat().await;
            assert_eq!((stat.pod_name.as_str(), stat.timestamp), ("pod-1", 0));
            if stat.process_uptime > 0.0 {
                return stat;
            }
            assert_eq!(stat, Stat { pod_name: "pod-1".into(), ..Stat::default() });
        }
    })
    .await
}

#[tokio::test]
async fn the_report_counts_what_ran_and_what_came_through_an_activator() {
    let mut app = App::http1().await;
    let pod = Pod::start(app.address, |config| config.nonce = Some("secret".into())).await;
    let mut clients = Vec::new();
    let direct = || get("/");
    let forged = || {
        let mut request = get("/");
        request.headers_mut().insert("k-proxy-request", "activator".parse().unwrap());
        request
    };
    let proxied = || {
        let mut request = forged();
        request.headers_mut().insert("ebb-pod-nonce", "secret".parse().unwrap());
        request
    };
    for request in [direct(), forged(), proxied(), proxied(), proxied()] {
        let mut client = Client::connect(pod.serving).await;
        let answer = client.start(request);
        let exchange = app.next().await;
        clients.push((client, answer, exchange));
    }
    let stat = first_report(&pod).await;
    assert_eq!((stat.request_count, stat.proxied_request_count), (5.0, 3.0));
    let (all, proxied) = (stat.average_concurrent_requests, stat.average_proxied_concurrent_requests);
    assert!(0.0 < proxied && proxied < all && all < 5.0, "{stat:?}");
    assert!(stat.process_uptime >= 1.0 && stat.is_sane(), "{stat:?}");
    assert_eq!(pod.metric("ebb_queue_proxy_in_flight_requests").await, "5.0");
    assert_eq!(pod.metric("ebb_queue_proxy_requests_total").await, "5");
    for (_client, _answer, exchange) in clients {
        exchange.answer_with("ok");
    }
    pod.until_in_flight(0).await;
    assert_eq!(pod.metric("ebb_queue_proxy_in_flight_requests").await, "0.0");
    assert_eq!(pod.metric("ebb_queue_proxy_requests_total").await, "5");
}

#[tokio::test]
async fn who_asks_for_text_gets_text_and_everybody_else_the_report() {
    let app = App::http1().await;
    let pod = Pod::start(app.address, |_| {}).await;
    let mut scraper = Client::connect(pod.stats).await;
    let prometheus =
        "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.3,*/*;q=0.1";
    for accept in [prometheus, "text/plain"] {
        scraper.ready().await.unwrap();
        let answer = scraper.send(scrape(Some(accept))).await;
        assert!(
            answer.headers()["content-type"].to_str().unwrap().starts_with("application/openmetrics-text")
        );
        let page = text(answer).await;
        assert!(page.contains("# TYPE ebb_queue_proxy_requests counter\n"), "{page}");
        assert!(page.ends_with("# EOF\n"), "{page}");
    }
    for accept in [None, Some("*/*"), Some("application/protobuf"), Some("application/protobuf, text/plain")]
    {
        scraper.ready().await.unwrap();
        let answer = scraper.send(scrape(accept)).await;
        assert_eq!(answer.headers()["content-type"], "application/protobuf", "{accept:?}");
        assert_eq!(Stat::decode(read(answer.into_body()).await).unwrap().pod_name, "pod-1");
    }
}

#[tokio::test]
async fn other_methods_and_paths_are_refused() {
    let app = App::http1().await;
    let pod = Pod::start(app.address, |_| {}).await;
    for (address, path) in [(pod.stats, "/metrics"), (pod.admin, "/wait-for-drain")] {
        let mut client = Client::connect(address).await;
        for (method, path, status) in [
            (Method::POST, path, StatusCode::METHOD_NOT_ALLOWED),
            (Method::GET, "/", StatusCode::NOT_FOUND),
            (Method::POST, "/debug", StatusCode::NOT_FOUND),
        ] {
            client.ready().await.unwrap();
            let mut request = get(path);
            *request.method_mut() = method.clone();
            let answer = client.send(request).await;
            assert_eq!(answer.status(), status, "{method} {path}");
            read(answer.into_body()).await;
        }
    }
}
