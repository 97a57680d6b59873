//! Where containers see volumes.

use std::collections::BTreeSet;

use super::{super::fault::Faults, volume::Volumes};
use crate::{
    api::{Volume, VolumeMount},
    config::{Feature, Features, Flag},
};

/// Where nothing may be mounted.
const RESERVED: [&str; 3] = ["/", "/dev", "/dev/log"];

/// Returns what is wrong with the mounts of a container.
pub(super) fn faults(mounts: &[VolumeMount], volumes: &Volumes<'_>, features: &Features) -> Faults {
    let mut seen = BTreeSet::new();
    let faults = mounts.iter().enumerate().map(|(index, mount)| {
        let clean = clean(&mount.mount_path);
        let mut faults = path(&mount.mount_path, &clean);
        if faults.is_empty() && !seen.insert(clean) {
            let text = format!("{:?} must be unique", mount.mount_path);
            faults.add(Faults::invalid_value(text, "mountPath"));
        }
        faults.add(match volumes.named(&mount.name) {
            None => Faults::generic("volumeMount has no matching volume", "name"),
            Some(volume) => writing(mount, volume),
        });
        faults.and(propagation(mount, features)).via_index("volumeMounts", index)
    });
    faults.collect()
}

fn path(path: &str, clean: &str) -> Faults {
    if path.is_empty() {
        return Faults::missing("mountPath");
    }
    if RESERVED.contains(&clean) {
        return Faults::generic(format!("mountPath {clean:?} is a reserved path"), "mountPath");
    }
    if path.starts_with('/') { Faults::default() } else { Faults::invalid_value(path, "mountPath") }
}

/// Returns whether a volume is mounted for writing that cannot be written.
fn writing(mount: &VolumeMount, volume: &Volume) -> Faults {
    let claim = volume.persistent_volume_claim.as_ref();
    let can_be_written = volume.empty_dir.is_some() || claim.is_some() || volume.ephemeral.is_some();
    if mount.read_only == Some(true) {
        return Faults::default();
    }
    if !can_be_written {
        return Faults::generic("volume mount should be readOnly for this type of volume", "readOnly");
    }
    if claim.is_some_and(|claim| claim.read_only == Some(true)) {
        return Faults::generic("volume is readOnly but volume mount is not", "readOnly");
    }
    Faults::default()
}

fn propagation(mount: &VolumeMount, features: &Features) -> Faults {
    let Some(propagation) = mount.mount_propagation.as_deref() else { return Faults::default() };
    let mut faults = Faults::default();
    let name = &mount.name;
    if !features.is_enabled(Feature::MountPropagation) {
        let off = "Volume Mount Propagation support is disabled";
        faults.add(Faults::nowhere(format!("{off}, but found volume mount {name} with mount propagation")));
    }
    if features.of(Feature::MountPropagation) == Flag::Disabled {
        faults.add(Faults::disallowed("mountPropagation"));
    }
    if !["None", "HostToContainer"].contains(&propagation) {
        let text = "mount propagation should be set to None or HostToContainer";
        faults.add(Faults::generic(text, "mountPropagation"));
    }
    faults
}

/// Returns the shortest path of the same place: without empty parts, `.` and `..`.
fn clean(path: &str) -> String {
    let is_absolute = path.starts_with('/');
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/').filter(|part| !["", "."].contains(part)) {
        match (part, parts.last()) {
            ("..", Some(&last)) if last != ".." => drop(parts.pop()),
            ("..", None) if is_absolute => {}
            _ => parts.push(part),
        }
    }
    format!("{}{}", if is_absolute { "/" } else { "" }, parts.join("/"))
}
