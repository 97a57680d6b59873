//! Removes the service-account token, which adds some 280 ms to a cold start and which most apps never read.
//!
//! API servers add it *before* they call webhooks: by then the pod has a volume for it, and a mount in each
//! container. They do so again after webhooks have changed the pod, so that the sidecar would get it too.

use json_patch::Patch;
use k8s_openapi::api::core::v1::{PodSpec, Volume, VolumeMount};

use super::edit;

/// The prefix of the names of the volumes that the API server adds.
const VOLUME_PREFIX: &str = "kube-api-access-";
/// The path at which it mounts them.
const MOUNT_PATH: &str = "/var/run/secrets/kubernetes.io/serviceaccount";
/// The only file in them that is not secret.
const NAMESPACE_FILE: &str = "namespace";

/// Removes the token from a pod that leaves open whether it has one.
pub(super) fn withhold(spec: &PodSpec, patch: &mut Patch) {
    if spec.automount_service_account_token.is_some() {
        return;
    }
    edit::add(patch, &["spec", "automountServiceAccountToken"], false.into());
    let mut volumes: Vec<(usize, &str)> = added_volumes(spec).collect();
    // A volume that is mounted elsewhere is not, or not only, for the API server's mount.
    volumes.retain(|(_, volume)| {
        mounts(spec).all(|(_, mount)| mount.name != *volume || mount.mount_path == MOUNT_PATH)
    });
    let is_withheld = |mount: &VolumeMount| volumes.iter().any(|(_, volume)| mount.name == *volume);
    let withheld: Vec<Place> =
        mounts(spec).filter(|(_, mount)| is_withheld(mount)).map(|(place, _)| place).collect();
    // From last to first, so that indices stay valid.
    for Place { list, container, mount } in withheld.into_iter().rev() {
        edit::remove(patch, &["spec", list, &container.to_string(), "volumeMounts", &mount.to_string()]);
    }
    for (index, _) in volumes.iter().rev() {
        edit::remove(patch, &["spec", "volumes", &index.to_string()]);
    }
}

/// Returns a mount that keeps the API server from mounting the token in the sidecar of a pod whose app has it: a
/// mount at the same path, of the file that contains only the namespace.
///
/// It needs no volume. Setting `automountServiceAccountToken: false` instead would change what others read of the pod
/// (Linkerd does not mesh such pods).
pub(super) fn placeholder(spec: &PodSpec) -> Option<VolumeMount> {
    let (_, volume) = added_volumes(spec).next()?;
    (spec.automount_service_account_token != Some(false)).then(|| VolumeMount {
        name: volume.to_owned(),
        mount_path: MOUNT_PATH.to_owned(),
        sub_path: Some(NAMESPACE_FILE.to_owned()),
        read_only: Some(true),
        ..VolumeMount::default()
    })
}

fn added_volumes(spec: &PodSpec) -> impl Iterator<Item = (usize, &str)> {
    let has_token = |volume: &Volume| {
        let sources = volume.projected.iter().flat_map(|projected| projected.sources.iter().flatten());
        sources.into_iter().any(|source| source.service_account_token.is_some())
    };
    let is_added = move |volume: &Volume| volume.name.starts_with(VOLUME_PREFIX) && has_token(volume);
    let volumes = spec.volumes.iter().flatten().enumerate();
    volumes.filter(move |(_, volume)| is_added(volume)).map(|(index, volume)| (index, volume.name.as_str()))
}

/// The position of a mount in a pod.
struct Place {
    list: &'static str,
    container: usize,
    mount: usize,
}

fn mounts(spec: &PodSpec) -> impl Iterator<Item = (Place, &VolumeMount)> {
    let init = spec.init_containers.as_deref().unwrap_or_default();
    [("initContainers", init), ("containers", &spec.containers)].into_iter().flat_map(|(list, containers)| {
        containers.iter().enumerate().flat_map(move |(container, of)| {
            let mounts = of.volume_mounts.iter().flatten().enumerate();
            mounts.map(move |(mount, this)| (Place { list, container, mount }, this))
        })
    })
}
