//! What in a pod's shape slows down its cold start, and what to change.
//!
//! The prices were measured on a one-node cluster (Kubernetes 1.34, containerd), from a pod's creation to its
//! app's process: 236 ms for an app with only its sidecar. The numbers differ elsewhere; the causes do not.

use k8s_openapi::api::core::v1::{Container, PodSpec, Probe};

/// The container that Ebb adds to pods.
pub(crate) const SIDECAR: &str = "queue-proxy";
/// The prefix of the volume in which the API server mounts a service-account token.
const TOKEN_VOLUME: &str = "kube-api-access-";
/// The default period of the kubelet's probes, in seconds.
const DEFAULT_PERIOD: i32 = 10;

const VOLUME_PRICE: &str = "some 270 ms";
const TOKEN_PRICE: &str = "some 280 ms";
/// The kubelet notices within a second that a container runs or has ended.
const RELIST_PRICE: &str = "350 to 650 ms";

/// Something that slows down each cold start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Cost {
    /// What it is.
    pub(crate) what: String,
    /// The time, in words.
    pub(crate) price: String,
    /// How to avoid it.
    pub(crate) change: String,
}

/// What is known of the pods besides their spec.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Around {
    /// Whether their ServiceAccount mounts tokens.
    pub(crate) account_mounts: Option<bool>,
    /// The Service's `ebb.dev/mount-token`.
    pub(crate) mount_token: Option<bool>,
    /// Whether pods have a sidecar.
    pub(crate) has_sidecar: bool,
}

/// Returns what in the `spec` of a pod or a template costs time.
pub(crate) fn costs(spec: &PodSpec, around: Around) -> Vec<Cost> {
    let mut costs = Vec::new();
    costs.extend(volumes(spec, around));
    costs.extend(native_sidecars(spec));
    costs.extend(init_containers(spec));
    for container in apps(spec) {
        costs.extend(readiness(container, around.has_sidecar));
    }
    costs.extend(pulls(spec));
    costs
}

/// Returns the user's containers.
fn apps(spec: &PodSpec) -> impl Iterator<Item = &Container> {
    spec.containers.iter().filter(|container| container.name != SIDECAR)
}

fn init(spec: &PodSpec) -> impl Iterator<Item = &Container> {
    spec.init_containers.iter().flatten()
}

fn is_native(container: &Container) -> bool {
    container.restart_policy.as_deref() == Some("Always")
}

/// Returns whether pods get a service-account token.
fn mounts_token(spec: &PodSpec, around: Around) -> bool {
    if spec.volumes.iter().flatten().any(|volume| volume.name.starts_with(TOKEN_VOLUME)) {
        // The spec of a running pod; future pods may differ.
        return spec.automount_service_account_token.is_some() || around.mount_token != Some(false);
    }
    spec.automount_service_account_token
        .or(around.mount_token.filter(|mount| !mount))
        .or(around.account_mounts)
        != Some(false)
}

fn volumes(spec: &PodSpec, around: Around) -> Option<Cost> {
    let is_mounted = |name: &str| {
        let containers = spec.containers.iter().chain(init(spec));
        containers.flat_map(|one| one.volume_mounts.iter().flatten()).any(|mount| mount.name == name)
    };
    let own: Vec<&str> = spec
        .volumes
        .iter()
        .flatten()
        .map(|volume| &*volume.name)
        .filter(|name| !name.starts_with(TOKEN_VOLUME) && is_mounted(name))
        .collect();
    let token = mounts_token(spec, around);
    let without_token = if spec.automount_service_account_token == Some(true) {
        "if the app never asks the Kubernetes API, remove `automountServiceAccountToken: true` from the pod \
         template and annotate the Service with ebb.dev/mount-token=false"
    } else {
        "if the app never asks the Kubernetes API, annotate the Service with ebb.dev/mount-token=false"
    };
    match (token, own.as_slice()) {
        (false, []) => None,
        (true, []) => Some(Cost {
            what: "a service-account token is mounted, which most apps never read".to_owned(),
            price: TOKEN_PRICE.to_owned(),
            change: without_token.to_owned(),
        }),
        (false, own) => Some(Cost {
            what: format!("{} mounted: {}", count(own.len(), "volume is", "volumes are"), own.join(", ")),
            price: format!("{VOLUME_PRICE}, for the first one; further ones cost little"),
            change:
                "to avoid this, mount none: settings can come from the environment, and an emptyDir is needed only \
                 if the image's file system is read-only"
                    .to_owned(),
        }),
        (true, own) => Some(Cost {
            what: format!(
                "a service-account token and {} mounted: {}",
                count(own.len(), "volume are", "volumes are"),
                own.join(", ")
            ),
            price: format!("{TOKEN_PRICE} together, for the first one; further ones cost little"),
            change: format!("to avoid this, mount neither; {without_token}"),
        }),
    }
}

fn native_sidecars(spec: &PodSpec) -> Vec<Cost> {
    let native = init(spec).filter(|container| is_native(container));
    native
        .map(|container| Cost {
            what: format!("{} is a native sidecar, and the app starts after it", container.name),
            price: RELIST_PRICE.to_owned(),
            change: if container.name == SIDECAR {
                "annotate the Service with ebb.dev/sidecar=ordinary, the default, unless the app calls other \
                 services while it stops"
                    .to_owned()
            } else {
                format!(
                    "make {} an ordinary container, unless the app cannot start without it",
                    container.name
                )
            },
        })
        .collect()
}

fn init_containers(spec: &PodSpec) -> Option<Cost> {
    let names: Vec<&str> =
        init(spec).filter(|container| !is_native(container)).map(|container| &*container.name).collect();
    (!names.is_empty()).then(|| Cost {
        what: format!(
            "{} to completion before the app starts: {}",
            count(names.len(), "init container runs", "init containers run"),
            names.join(", ")
        ),
        price: format!(
            "the time that each of them takes, plus {RELIST_PRICE} until the kubelet notices its end"
        ),
        change: "do that work when the image is built, or in the app itself".to_owned(),
    })
}

fn readiness(container: &Container, has_sidecar: bool) -> Option<Cost> {
    let probe = container.readiness_probe.as_ref()?;
    let delay = probe.initial_delay_seconds.unwrap_or(0);
    let name = &container.name;
    if let Some(kind) = only_by_kubelet(probe) {
        let period = probe.period_seconds.unwrap_or(DEFAULT_PERIOD);
        let first = if delay > 0 { format!(", for the first time after {delay} s") } else { String::new() };
        return Some(Cost {
            what: format!("{name} has a readiness probe by {kind}, which only the kubelet can run"),
            price: format!(
                "up to {} s: it runs every {period} s{first}",
                i64::from(period) + i64::from(delay)
            ),
            change:
                "use an httpGet (plain HTTP), tcpSocket or grpc probe, which the sidecar tries every few \
                 milliseconds; or set a path with ebb.dev/readiness-path"
                    .to_owned(),
        });
    }
    if delay <= 0 {
        return None;
    }
    let price = if has_sidecar {
        format!(
            "nothing for requests that Ebb holds, because its sidecar tries the app at once; {delay} s for clients \
             that wait for Kubernetes, such as those of the Service's other ports"
        )
    } else {
        format!("{delay} s: without a sidecar, Ebb waits until Kubernetes marks the pod as ready")
    };
    Some(Cost {
        what: format!("{name} has a readiness probe with initialDelaySeconds: {delay}"),
        price,
        change: "remove it; for an app that starts slowly, use a startupProbe with a short period".to_owned(),
    })
}

/// Returns the kind of a probe that a sidecar cannot make.
fn only_by_kubelet(probe: &Probe) -> Option<&'static str> {
    let is_https = |scheme: &Option<String>| {
        scheme.as_deref().is_some_and(|scheme| scheme.eq_ignore_ascii_case("https"))
    };
    match (&probe.exec, &probe.http_get) {
        (Some(_), _) => Some("exec"),
        (None, Some(get)) if is_https(&get.scheme) => Some("HTTPS"),
        _ => None,
    }
}

fn pulls(spec: &PodSpec) -> Option<Cost> {
    let names: Vec<&str> =
        apps(spec).chain(init(spec)).filter(|one| always_pulls(one)).map(|one| &*one.name).collect();
    (!names.is_empty()).then(|| Cost {
        what: format!("the kubelet asks the registry before each start of {}", names.join(", ")),
        price: "a round trip to the registry, and no start at all while the registry is unavailable".to_owned(),
        change: "set imagePullPolicy: IfNotPresent, and a tag that names a version (without a policy, :latest or no \
                 tag means Always)"
            .to_owned(),
    })
}

fn always_pulls(container: &Container) -> bool {
    match container.image_pull_policy.as_deref() {
        Some(policy) => policy == "Always",
        None => container.image.as_deref().is_some_and(|image| {
            let last = image.rsplit('/').next().unwrap_or_default();
            !last.contains('@') && last.split_once(':').is_none_or(|(_, tag)| tag == "latest")
        }),
    }
}

fn count(number: usize, one: &str, many: &str) -> String {
    format!("{number} {}", if number == 1 { one } else { many })
}

#[cfg(test)]
#[allow(clippy::needless_pass_by_value, reason = "what json! makes reads better without a reference")]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    const SIDECAR_THERE: Around = Around { account_mounts: None, mount_token: None, has_sidecar: true };

    fn of(spec: Value, around: Around) -> Vec<String> {
        let spec: PodSpec = serde_json::from_value(spec).unwrap();
        costs(&spec, around)
            .into_iter()
            .map(|cost| format!("{} | {} | {}", cost.what, cost.price, cost.change))
            .collect()
    }

    fn app(more: Value) -> Value {
        let mut app = json!({"name": "app", "image": "app:1"});
        app.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        json!({"containers": [app], "automountServiceAccountToken": false})
    }

    #[track_caller]
    fn assert_costs(spec: Value, around: Around, wanted: &[&[&str]]) {
        let costs = of(spec, around);
        assert_eq!(costs.len(), wanted.len(), "{costs:#?}");
        for (cost, parts) in costs.iter().zip(wanted) {
            for part in *parts {
                assert!(cost.contains(part), "{part:?} in {cost:?}");
            }
        }
    }

    #[test]
    fn the_leanest_pod_costs_nothing() {
        assert_costs(app(json!({})), SIDECAR_THERE, &[]);
        assert_costs(app(json!({"readinessProbe": {"httpGet": {"port": 80}}})), SIDECAR_THERE, &[]);
        assert_costs(app(json!({"image": "r:5000/app:1"})), SIDECAR_THERE, &[]);
        assert_costs(app(json!({"image": "app@sha256:00"})), SIDECAR_THERE, &[]);
    }

    #[test]
    fn a_token_is_mounted_unless_somebody_says_otherwise() {
        let open = json!({"containers": [{"name": "app", "image": "app:1"}]});
        let token: &[&str] = &["token", "280 ms", "ebb.dev/mount-token=false"];
        assert_costs(open.clone(), SIDECAR_THERE, &[token]);
        let account = Around { account_mounts: Some(false), ..SIDECAR_THERE };
        assert_costs(open.clone(), account, &[]);
        let service = Around { mount_token: Some(false), account_mounts: Some(true), ..SIDECAR_THERE };
        assert_costs(open.clone(), service, &[]);
        let mut wanted = open;
        wanted["automountServiceAccountToken"] = json!(true);
        assert_costs(wanted, service, &[&["remove `automountServiceAccountToken: true`"]]);
        let running = json!({
            "containers": [{"name": "app", "image": "app:1", "volumeMounts": [{"name": "kube-api-access-x", "mountPath": "/v"}]}],
            "volumes": [{"name": "kube-api-access-x"}],
        });
        assert_costs(running.clone(), SIDECAR_THERE, &[token]);
        assert_costs(running, service, &[]);
    }

    #[test]
    fn the_first_volume_costs_whichever_it_is() {
        let mut spec = app(
            json!({"volumeMounts": [{"name": "tmp", "mountPath": "/tmp"}, {"name": "conf", "mountPath": "/c"}]}),
        );
        spec["volumes"] = json!([{"name": "tmp"}, {"name": "conf"}, {"name": "unused"}]);
        assert_costs(spec.clone(), SIDECAR_THERE, &[&["2 volumes are mounted: tmp, conf |", "270 ms"]]);
        spec["automountServiceAccountToken"] = Value::Null;
        assert_costs(spec, SIDECAR_THERE, &[&["token and 2 volumes", "together", "neither"]]);
    }

    #[test]
    fn what_starts_before_the_app_delays_it() {
        let mut spec = app(json!({}));
        spec["initContainers"] = json!([
            {"name": "queue-proxy", "image": "q:1", "restartPolicy": "Always"},
            {"name": "mesh", "image": "m:1", "restartPolicy": "Always"},
            {"name": "migrate", "image": "x:1"},
        ]);
        assert_costs(
            spec,
            SIDECAR_THERE,
            &[
                &["queue-proxy is a native sidecar", "350 to 650 ms", "ebb.dev/sidecar=ordinary"],
                &["mesh is a native sidecar", "make mesh an ordinary container"],
                &["1 init container runs to completion", "migrate"],
            ],
        );
    }

    #[test]
    fn probes_that_only_the_kubelet_can_make_are_waited_for() {
        let exec = json!({"readinessProbe": {"exec": {"command": ["true"]}, "initialDelaySeconds": 3}});
        assert_costs(app(exec), SIDECAR_THERE, &[&["by exec", "up to 13 s", "after 3 s"]]);
        let https =
            json!({"readinessProbe": {"httpGet": {"port": 443, "scheme": "HTTPS"}, "periodSeconds": 2}});
        assert_costs(app(https), SIDECAR_THERE, &[&["by HTTPS", "up to 2 s"]]);
        let delayed = json!({"readinessProbe": {"tcpSocket": {"port": 1}, "initialDelaySeconds": 5}});
        assert_costs(
            app(delayed.clone()),
            SIDECAR_THERE,
            &[&["initialDelaySeconds: 5", "nothing for requests"]],
        );
        let bare = Around { has_sidecar: false, ..SIDECAR_THERE };
        assert_costs(app(delayed), bare, &[&["5 s: without a sidecar"]]);
    }

    #[test]
    fn a_registry_that_is_asked_each_time_is_named() {
        for more in [
            json!({"imagePullPolicy": "Always"}),
            json!({"image": "app:latest"}),
            json!({"image": "r:5000/app"}),
        ] {
            assert_costs(app(more), SIDECAR_THERE, &[&["before each start of app"]]);
        }
        assert_costs(
            app(json!({"image": "app:latest", "imagePullPolicy": "IfNotPresent"})),
            SIDECAR_THERE,
            &[],
        );
    }
}
