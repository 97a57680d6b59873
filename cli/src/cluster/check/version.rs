//! Checks that the cluster is new enough.

use k8s_openapi::apimachinery::pkg::version::Info;

use crate::cluster::{Cluster, finding::Finding};

const CHECK: &str = "api";
/// The first version whose webhooks may have conditions without a feature gate.
const OLDEST: (u32, u32) = (1, 30);

/// Returns the finding about the API server's version; `None` if there is no answer.
pub(crate) async fn check(cluster: &Cluster) -> Option<Finding> {
    let answer = cluster.call("asking for the version", cluster.client.apiserver_version()).await;
    match answer {
        Ok(info) => Some(judge(&info)),
        Err(failure) if failure.code.is_some() => Some(Finding::fault(
            CHECK,
            format!("the API server refuses: {}", failure.text.trim()),
            "check that the kubeconfig's credentials are valid: kubectl auth whoami",
        )),
        Err(_) => None,
    }
}

fn judge(info: &Info) -> Finding {
    // Some distributions say 30+.
    let number = |text: &str| text.trim_end_matches(|c: char| !c.is_ascii_digit()).parse().unwrap_or(0);
    let version = (number(&info.major), number(&info.minor));
    let name = &info.git_version;
    if version < OLDEST {
        return Finding::fault(
            CHECK,
            format!(
                "Kubernetes {name} is too old; Ebb needs {}.{}: before it, webhooks have no matchConditions, and Ebb \
                 would be asked about every Service of the cluster",
                OLDEST.0, OLDEST.1
            ),
            "upgrade the cluster",
        );
    }
    Finding::ok(CHECK, format!("Kubernetes {name} answers"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::finding::Level;

    #[test]
    fn versions_are_compared_as_numbers() {
        let level = |major: &str, minor: &str| {
            judge(&Info { major: major.to_owned(), minor: minor.to_owned(), ..Info::default() }).level
        };
        assert_eq!(level("1", "34"), Level::Ok);
        assert_eq!(level("1", "30+"), Level::Ok);
        assert_eq!(level("2", "0"), Level::Ok);
        assert_eq!(level("1", "29"), Level::Fault);
        assert_eq!(level("1", "9"), Level::Fault);
    }
}
