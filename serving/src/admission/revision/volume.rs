//! Volumes of the pod.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::core::v1::{
    CSIVolumeSource, EphemeralVolumeSource, HostPathVolumeSource, ImageVolumeSource,
};
use serde_json::Value;

use super::{
    super::{fault::Faults, names},
    projected, quantity, shape,
};
use crate::{
    api::{EmptyDir, KeyToPath, Volume, VolumeClaim},
    config::{Feature, Features, Flag},
};

/// The volumes by their names.
#[derive(Clone, Debug)]
pub(super) struct Volumes<'a>(BTreeMap<&'a str, &'a Volume>);

impl<'a> Volumes<'a> {
    /// Returns these volumes by their names; of several with the same name, the last.
    pub(super) fn of(volumes: &'a [Volume]) -> Self {
        Self(volumes.iter().map(|volume| (volume.name.as_str(), volume)).collect())
    }

    /// Returns the volume of this name.
    pub(super) fn named(&self, name: &str) -> Option<&'a Volume> {
        self.0.get(name).copied()
    }
}

/// Returns what is wrong with volumes, of which containers mount those in `mounted`.
pub(super) fn faults(volumes: &[Volume], mounted: &BTreeSet<&str>, features: &Features) -> Faults {
    let mut seen = BTreeSet::new();
    let faults = volumes.iter().enumerate().map(|(index, volume)| {
        let name = volume.name.as_str();
        let mut faults = name_faults(name);
        if !seen.insert(name) {
            faults.add(Faults::generic(format!("duplicate volume name {name:?}"), "name"));
        }
        if !mounted.contains(name) {
            faults.add(Faults::generic(format!("volume with name {name:?} not mounted"), "name"));
        }
        faults.and(flags(volume, features)).and(sources(volume, features)).via_index("volumes", index)
    });
    faults.collect()
}

fn name_faults(name: &str) -> Faults {
    if name.is_empty() {
        return Faults::missing("name");
    }
    if names::dns_1123_label(name).is_empty() {
        Faults::default()
    } else {
        Faults::invalid_value(name, "name")
    }
}

/// Returns the sources that need a flag: their fields, what their fault calls them, and whether they are given.
fn flagged(volume: &Volume) -> [(&'static str, &'static str, Feature, bool); 5] {
    let is_given = |value: &Option<Value>| value.as_ref().is_some_and(|value| !value.is_null());
    [
        ("emptyDir", "EmptyDir", Feature::EmptyDir, volume.empty_dir.is_some()),
        ("hostPath", "HostPath", Feature::HostPath, is_given(&volume.host_path)),
        ("csi", "CSI", Feature::Csi, is_given(&volume.csi)),
        ("ephemeral", "Ephemeral", Feature::Ephemeral, is_given(&volume.ephemeral)),
        ("image", "Image", Feature::ImageVolume, is_given(&volume.image)),
    ]
}

fn flags(volume: &Volume, features: &Features) -> Faults {
    let name = &volume.name;
    let mut faults = Faults::default();
    for (field, kind, feature, is_given) in flagged(volume) {
        if is_given && !features.is_enabled(feature) {
            let text = format!("{kind} volume support is disabled, but found {kind} volume {name}");
            faults.add(Faults::nowhere(text));
            faults.add(masked(field, feature, features));
        }
    }
    faults.and(
        volume.persistent_volume_claim.as_ref().map(|claim| claim_flags(claim, features)).unwrap_or_default(),
    )
}

fn claim_flags(claim: &VolumeClaim, features: &Features) -> Faults {
    let name = &claim.claim_name;
    let found = format!("but found persistent volume claim {name}");
    let mut faults = masked("persistentVolumeClaim", Feature::VolumeClaim, features);
    if !features.is_enabled(Feature::VolumeClaim) {
        faults.add(Faults::nowhere(format!("Persistent volume claim support is disabled, {found}")));
    }
    if claim.read_only != Some(true) && !features.is_enabled(Feature::VolumeWrite) {
        let text = format!("Persistent volume write support is disabled, {found} that is not read-only");
        faults.add(Faults::nowhere(text));
    }
    faults
}

/// Returns the fault of a field whose flag is off altogether.
fn masked(field: &str, feature: Feature, features: &Features) -> Faults {
    if features.of(feature) == Flag::Disabled { Faults::disallowed(field) } else { Faults::default() }
}

fn sources(volume: &Volume, features: &Features) -> Faults {
    let always = [
        ("configMap", volume.config_map.is_some()),
        ("projected", volume.projected.is_some()),
        ("secret", volume.secret.is_some()),
    ];
    let claim = ("persistentVolumeClaim", Feature::VolumeClaim, volume.persistent_volume_claim.is_some());
    let flagged = flagged(volume).map(|(field, _, feature, is_given)| (field, feature, is_given));
    let flagged = flagged.into_iter().chain([claim]);
    let given = always.into_iter().chain(flagged.clone().map(|(field, _, is_given)| (field, is_given)));
    let given: Vec<&str> = given.filter(|(_, is_given)| *is_given).map(|(field, _)| field).collect();
    let count = match given.as_slice() {
        [_] => Faults::default(),
        [] => {
            let usable = flagged.filter(|(_, feature, _)| features.is_enabled(*feature));
            let usable = usable.map(|(field, ..)| field);
            let all: Vec<&str> = always.map(|(field, _)| field).into_iter().chain(usable).collect();
            Faults::one_of_neither(&all)
        }
        several => Faults::one_of_both(several),
    };
    count.and(contents(volume))
}

fn contents(volume: &Volume) -> Faults {
    let secret = volume.secret.as_ref().map(|secret| items(&secret.keys.items).via_field("secret"));
    let config_map = volume.config_map.as_ref().map(|map| items(&map.keys.items).via_field("configMap"));
    let projected = volume.projected.as_ref().map(|volume| projected::faults(&volume.sources));
    let empty_dir = volume.empty_dir.as_ref().map(|dir| empty_dir(dir).via_field("emptyDir"));
    let image = volume.image.as_ref().map(|image| image_faults(image).via_field("image"));
    let shapes = [
        shape::faults_of::<HostPathVolumeSource>(volume.host_path.as_ref(), "hostPath"),
        shape::faults_of::<CSIVolumeSource>(volume.csi.as_ref(), "csi"),
        shape::faults_of::<EphemeralVolumeSource>(volume.ephemeral.as_ref(), "ephemeral"),
        shape::faults_of::<ImageVolumeSource>(volume.image.as_ref(), "image"),
    ];
    [secret, config_map, projected, empty_dir, image].into_iter().flatten().chain(shapes).collect()
}

/// Returns what is wrong with keys that become files.
pub(super) fn items(items: &[KeyToPath]) -> Faults {
    let item = |(index, item): (usize, &KeyToPath)| {
        let fields = [("key", &item.key), ("path", &item.path)].into_iter();
        let missing = fields.filter(|(_, text)| text.is_empty()).map(|(name, _)| Faults::missing(name));
        missing.collect::<Faults>().via_index("items", index)
    };
    items.iter().enumerate().map(item).collect()
}

fn empty_dir(dir: &EmptyDir) -> Faults {
    let mut faults = Faults::default();
    if let Some(medium) = dir.medium.as_deref().filter(|medium| !["", "Memory"].contains(medium)) {
        faults.add(Faults::invalid_value(medium, "medium"));
    }
    if let Some(limit) = dir.size_limit.as_ref().filter(|limit| !limit.is_null()) {
        let text = shape::quoted(limit);
        if quantity::nanos(&text).is_none_or(|nanos| nanos < 0) {
            faults.add(Faults::invalid_value(text, "sizeLimit"));
        }
    }
    faults
}

fn image_faults(image: &Value) -> Faults {
    if !image.is_object() {
        return Faults::default();
    }
    let mut faults = Faults::default();
    if shape::text(image, "reference").is_empty() {
        faults.add(Faults::missing("reference"));
    }
    let policy = shape::text(image, "pullPolicy");
    if !["", "Always", "IfNotPresent", "Never"].contains(&policy) {
        faults.add(Faults::invalid_value(policy, "pullPolicy"));
    }
    faults
}
