mod desk;
mod keeper;
mod schema;

use ebb_core::ServiceKey;
use serde_json::{Value, json};

use super::{Backend, Parent, Wanted};

fn key(name: &str) -> ServiceKey {
    ServiceKey::new("shop", name)
}

fn parent() -> Parent {
    "infra/web".parse().unwrap()
}

/// Returns a Service with this many hosts.
fn backend(hosts: usize) -> Backend {
    let hosts = (0..hosts).map(|index| format!("h{index}.example.com").parse().unwrap()).collect();
    Backend { uid: "1".to_owned(), port: 80, hosts }
}

fn wanted(services: &[(&str, usize)]) -> Wanted {
    let services = services.iter().map(|(name, hosts)| (key(name), backend(*hosts))).collect();
    Wanted { parent: Some(parent()), services }
}

#[test]
fn an_http_route_leads_from_the_gateway_to_the_port_of_the_service_and_goes_with_it() {
    let object =
        &super::object::objects(&key("hello"), &backend(1), &"infra/web/https".parse().unwrap())[0].1;
    let service = json!({"apiVersion": "v1", "kind": "Service", "name": "hello", "uid": "1"});
    let expected: Value = json!({
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "HTTPRoute",
        "metadata": {
            "name": "hello-ebb",
            "namespace": "shop",
            "labels": {"app.kubernetes.io/managed-by": "ebb"},
            "ownerReferences": [service],
        },
        "spec": {
            "parentRefs": [{"namespace": "infra", "name": "web", "sectionName": "https"}],
            "hostnames": ["h0.example.com"],
            "rules": [{"backendRefs": [{"name": "hello", "port": 80}]}],
        },
    });
    assert_eq!(*object, expected);
}
