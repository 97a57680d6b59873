//! The requests to the API server, and the reports.

use std::{collections::BTreeMap, convert::Infallible, future::pending, sync::Arc};

use http::{Method, Request, Response, StatusCode};
use http_body_util::BodyExt;
use kube::{Client, client::Body};
use parking_lot::Mutex;
use tokio::{
    sync::{mpsc, watch as observed},
    task::JoinSet,
};

use super::*;
use crate::{http_routes::keep, watch::Fact};
use ebb_cluster::Calls;
use ebb_proxy::WallClock;

const GROUP: &str = "/apis/gateway.networking.k8s.io/v1";

/// An API server that has only HTTPRoutes, and whose watches report nothing.
#[derive(Debug, Default)]
struct Server {
    has_kind: bool,
    /// The number of writes to refuse.
    refused: u32,
    objects: BTreeMap<String, Value>,
}

fn status(code: u16, message: &str) -> (u16, Value) {
    let reason = if code == 404 { "NotFound" } else { "Forbidden" };
    (code, json!({"kind": "Status", "status": "Failure", "message": message, "reason": reason, "code": code}))
}

impl Server {
    fn answer(&mut self, method: &Method, path: &str, body: Option<Value>) -> (u16, Value) {
        if !self.has_kind {
            return status(404, "the server could not find the requested resource");
        }
        let Some(rest) = path.strip_prefix(&format!("{GROUP}/")) else {
            let kind = json!({"name": "httproutes", "singularName": "", "namespaced": true, "kind": "HTTPRoute", "verbs": []});
            return (200, json!({"kind": "APIResourceList", "groupVersion": "", "resources": [kind]}));
        };
        let Some(name) = rest.strip_prefix("namespaces/shop/httproutes/") else {
            let is_ours =
                |object: &&Value| object["metadata"]["labels"]["app.kubernetes.io/managed-by"] == "ebb";
            let items: Vec<&Value> = self.objects.values().filter(is_ours).collect();
            return (200, json!({"metadata": {"resourceVersion": "1"}, "items": items}));
        };
        let missing = || status(404, "not found");
        match *method {
            Method::DELETE => self.objects.remove(name).map_or_else(missing, |object| (200, object)),
            Method::PATCH if self.refused > 0 => {
                self.refused -= 1;
                status(403, "a policy says no")
            }
            Method::PATCH => {
                let mut object = body.unwrap();
                object["metadata"]["uid"] = json!(name);
                object["metadata"]["generation"] = json!(1);
                self.objects.insert(name.to_owned(), object.clone());
                (200, object)
            }
            _ => self.objects.get(name).map_or_else(missing, |object| (200, object.clone())),
        }
    }
}

/// The task that writes HTTPRoutes, and its surroundings.
struct World {
    server: Arc<Mutex<Server>>,
    asked: mpsc::Receiver<String>,
    wanted: observed::Sender<Option<Wanted>>,
    told: mpsc::Receiver<Fact>,
    task: JoinSet<()>,
}

impl World {
    fn new(server: Server) -> Self {
        let server = Arc::new(Mutex::new(server));
        let (ask, asked) = mpsc::channel(100);
        let answering = server.clone();
        let service = tower::service_fn(move |request: Request<Body>| {
            let (server, ask) = (answering.clone(), ask.clone());
            async move {
                let (head, body) = request.into_parts();
                let query = head.uri.query().unwrap_or_default().to_owned();
                if query.contains("watch=true") {
                    pending::<()>().await;
                }
                let body = body.collect().await.unwrap().to_bytes();
                let path = head.uri.path();
                let (code, answer) =
                    server.lock().answer(&head.method, path, serde_json::from_slice(&body).ok());
                let force = if query.contains("force=true") { " by force" } else { "" };
                let last = path.rsplit('/').next().unwrap();
                ask.send(format!("{} {last}{force}", head.method)).await.unwrap();
                let mut response = Response::new(Body::from(answer.to_string().into_bytes()));
                *response.status_mut() = StatusCode::from_u16(code).unwrap();
                Ok::<_, Infallible>(response)
            }
        });
        let calls = Calls { client: Client::new(service, "default"), metrics: Arc::default() };
        let (wanted, wanting) = observed::channel(None);
        let (to, told) = mpsc::channel(100);
        let mut task = JoinSet::new();
        task.spawn(keep(calls, WallClock::start(), wanting, to));
        Self { server, asked, wanted, told, task }
    }

    async fn asked<const N: usize>(&mut self, expected: [&str; N]) {
        for expected in expected {
            assert_eq!(self.asked.recv().await.unwrap(), expected);
        }
    }

    async fn told(&mut self) -> Fact {
        self.told.recv().await.unwrap()
    }

    /// Ends the task by closing its channel.
    async fn end(mut self) {
        drop(self.wanted);
        self.task.join_next().await.unwrap().unwrap();
        assert!(self.asked.recv().await.is_none() && self.told.recv().await.is_none());
    }
}

fn with_kind() -> Server {
    Server { has_kind: true, ..Server::default() }
}

#[tokio::test(start_paused = true)]
async fn http_routes_are_written_once_the_cluster_has_the_kind_and_go_with_the_gateway() {
    let mut world = World::new(Server::default());
    world.wanted.send_replace(Some(wanted(&[("hello", 1)])));
    let Fact::HttpRoutes(Err(why)) = world.told().await else { panic!() };
    assert!(why.starts_with("the cluster has no kind HTTPRoute of gateway.networking.k8s.io/v1"), "{why}");
    world.asked(["GET v1", "GET v1"]).await;
    world.server.lock().has_kind = true;
    assert!(matches!(world.told().await, Fact::HttpRoutes(Ok(()))), "said once that it is not so");
    world.asked(["GET v1", "GET httproutes", "GET hello-ebb", "PATCH hello-ebb"]).await;
    assert_eq!(world.server.lock().objects["hello-ebb"]["spec"]["hostnames"], json!(["h0.example.com"]));
    world.wanted.send_replace(Some(wanted(&[("hello", 2)])));
    world.asked(["PATCH hello-ebb by force"]).await;
    world.wanted.send_replace(Some(Wanted::default()));
    world.asked(["DELETE hello-ebb"]).await;
    assert!(world.server.lock().objects.is_empty());
    world.end().await;
}

#[tokio::test(start_paused = true)]
async fn nothing_is_asked_by_whoever_does_not_lead_and_what_is_left_is_deleted_once() {
    let mut world = World::new(Server::default());
    // There is no Gateway and no kind: nothing could be left, and nothing is told.
    world.wanted.send_replace(Some(Wanted::default()));
    world.asked(["GET v1"]).await;
    world.wanted.send_replace(None);
    let left = crate::http_routes::object::objects(&key("hello"), &backend(1), &parent()).remove(0);
    {
        let mut server = world.server.lock();
        server.has_kind = true;
        server.objects.insert(left.0, left.1);
        let object = server.objects.get_mut("hello-ebb").unwrap();
        object["metadata"]["uid"] = json!("7");
    }
    tokio::time::advance(std::time::Duration::from_secs(100)).await;
    world.wanted.send_replace(Some(Wanted::default()));
    world.asked(["GET v1", "GET httproutes", "DELETE hello-ebb"]).await;
    world.end().await;
}

#[tokio::test(start_paused = true)]
async fn somebody_elses_is_left_alone_until_it_is_gone() {
    let mut world = World::new(with_kind());
    let theirs = json!({"metadata": {"name": "hello-ebb", "namespace": "shop", "uid": "theirs"}});
    world.server.lock().objects.insert("hello-ebb".to_owned(), theirs);
    world.wanted.send_replace(Some(wanted(&[("hello", 1)])));
    let Fact::HttpRoute(service, Some((reason, text))) = world.told().await else { panic!() };
    assert_eq!((service, reason), (key("hello"), "HttpRouteTaken"));
    assert!(text.starts_with("HTTPRoute hello-ebb is not Ebb's"), "{text}");
    world.asked(["GET v1", "GET httproutes", "GET hello-ebb", "GET hello-ebb"]).await;
    assert!(matches!(world.told().await, Fact::HttpRoute(_, Some(_))), "at each try");
    world.server.lock().objects.clear();
    assert!(matches!(world.told().await, Fact::HttpRoute(_, None)));
    world.asked(["GET hello-ebb", "PATCH hello-ebb"]).await;
    world.end().await;
}

#[tokio::test(start_paused = true)]
async fn whoever_refuses_a_write_is_asked_again_and_the_owner_is_told_in_the_end() {
    let mut world = World::new(Server { refused: 5, ..with_kind() });
    world.wanted.send_replace(Some(wanted(&[("hello", 1)])));
    let Fact::HttpRoute(_, Some((reason, text))) = world.told().await else { panic!() };
    assert_eq!(reason, "CannotWriteHttpRoute");
    assert!(text.contains("a policy says no"), "{text}");
    assert!(matches!(world.told().await, Fact::HttpRoute(_, None)));
    world.asked(["GET v1", "GET httproutes"]).await;
    for _ in 0..6 {
        world.asked(["GET hello-ebb", "PATCH hello-ebb"]).await;
    }
    world.end().await;
}
