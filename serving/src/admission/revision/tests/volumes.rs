use super::*;

/// Returns what is wrong with a pod that mounts these volumes, each at a path of its own.
fn of(volumes: &Value, config: &Config) -> String {
    let names = volumes.as_array().unwrap().iter().map(|volume| volume["name"].as_str().unwrap().to_owned());
    let mounts: Vec<Value> = names
        .enumerate()
        .map(|(index, name)| json!({"name": name, "mountPath": format!("/m{index}"), "readOnly": true}))
        .collect();
    wrong(merged(one(json!({ "volumeMounts": mounts })), json!({ "volumes": volumes })), config)
}

#[test]
fn volumes_have_names_of_their_own_and_are_mounted() {
    let secret = |name: &str| json!({"name": name, "secret": {"secretName": "s"}});
    for (volumes, text) in [
        (json!([secret("a"), secret("b")]), ""),
        (json!([secret("a"), secret("a")]), "duplicate volume name \"a\": volumes[1].name"),
        (json!([secret("")]), "missing field(s): volumes[0].name"),
        (json!([secret("A.b")]), "invalid value: A.b: volumes[0].name"),
        (
            json!([{"name": "A.b"}]),
            "expected exactly one, got neither: volumes[0].configMap, volumes[0].emptyDir, volumes[0].projected, \
             volumes[0].secret\ninvalid value: A.b: volumes[0].name",
        ),
    ] {
        assert_eq!(of(&volumes, &config(&[])), text, "{volumes}");
    }
    let unused = beside(json!({"volumes": [secret("a")]}));
    assert_eq!(wrong(unused, &config(&[])), "volume with name \"a\" not mounted: volumes[0].name");
    let mount =
        json!({"volumeMounts": [{"name": "a", "mountPath": "/a", "readOnly": true}], "name": "first"});
    let by_init = beside(json!({"volumes": [secret("a")], "initContainers": [with_image(mount)]}));
    assert_eq!(wrong(by_init, &enabled(&[Feature::InitContainers])), "");
}

#[test]
fn a_volume_has_one_source() {
    let config = enabled(&[
        Feature::VolumeClaim,
        Feature::HostPath,
        Feature::Csi,
        Feature::Ephemeral,
        Feature::ImageVolume,
    ]);
    let all = [
        "configMap",
        "csi",
        "emptyDir",
        "ephemeral",
        "hostPath",
        "image",
        "persistentVolumeClaim",
        "projected",
        "secret",
    ];
    let paths = all.map(|source| format!("volumes[0].{source}")).join(", ");
    assert_eq!(of(&json!([{"name": "a"}]), &config), format!("expected exactly one, got neither: {paths}"));
    let text = "expected exactly one, got both: volumes[0].configMap, volumes[0].emptyDir";
    assert_eq!(of(&json!([{"name": "a", "configMap": {}, "emptyDir": {}}]), &config), text);
}

#[test]
fn sources_behind_flags_are_refused_in_words_of_their_own() {
    for (field, source, kind, feature) in [
        ("emptyDir", json!({}), "EmptyDir", Feature::EmptyDir),
        ("hostPath", json!({"path": "/"}), "HostPath", Feature::HostPath),
        ("csi", json!({"driver": "d"}), "CSI", Feature::Csi),
        ("ephemeral", json!({}), "Ephemeral", Feature::Ephemeral),
        ("image", json!({"reference": "cart"}), "Image", Feature::ImageVolume),
    ] {
        let volumes = json!([{"name": "a", field: source}]);
        let off = format!("{kind} volume support is disabled, but found {kind} volume a: ");
        assert_eq!(of(&volumes, &config(&[(feature, Flag::Allowed)])), off);
        let masked = format!("{off}\nmust not set the field(s): volumes[0].{field}");
        assert_eq!(of(&volumes, &config(&[(feature, Flag::Disabled)])), masked);
        assert_eq!(of(&volumes, &enabled(&[feature])), "");
    }
}

#[test]
fn claims_need_one_flag_to_read_and_another_to_write() {
    let claim = |read_only: bool| json!([{"name": "a", "persistentVolumeClaim": {"claimName": "c", "readOnly": read_only}}]);
    let read = "Persistent volume claim support is disabled, but found persistent volume claim c: ";
    let write = "Persistent volume write support is disabled, but found persistent volume claim c that is not \
        read-only: ";
    let masked = "must not set the field(s): volumes[0].persistentVolumeClaim";
    for (features, read_only, text) in [
        (&[][..], false, format!("{read}\n{write}\n{masked}")),
        (&[], true, format!("{read}\n{masked}")),
        (&[Feature::VolumeClaim], false, write.to_owned()),
        (&[Feature::VolumeClaim], true, String::new()),
        (&[Feature::VolumeClaim, Feature::VolumeWrite], false, String::new()),
    ] {
        assert_eq!(of(&claim(read_only), &enabled(features)), text);
    }
}

#[test]
fn what_a_source_contains_is_complete() {
    let at = "volumes[0]";
    for (source, text) in [
        (json!({"secret": {"items": [{"key": "k", "path": "p"}]}}), String::new()),
        (
            json!({"secret": {"items": [{"key": "", "path": ""}]}}),
            format!("missing field(s): {at}.secret.items[0].key, {at}.secret.items[0].path"),
        ),
        (
            json!({"configMap": {"items": [{"key": "k", "path": "p"}, {"key": "k", "path": ""}]}}),
            format!("missing field(s): {at}.configMap.items[1].path"),
        ),
        (json!({"emptyDir": {"medium": "Memory", "sizeLimit": "100M"}}), String::new()),
        (json!({"emptyDir": {"sizeLimit": 5}}), String::new()),
        (json!({"emptyDir": {"medium": "Disk"}}), format!("invalid value: Disk: {at}.emptyDir.medium")),
        (json!({"emptyDir": {"sizeLimit": "-1"}}), format!("invalid value: -1: {at}.emptyDir.sizeLimit")),
        (json!({"emptyDir": {"sizeLimit": "big"}}), format!("invalid value: big: {at}.emptyDir.sizeLimit")),
        (
            json!({"image": {"pullPolicy": "Soon"}}),
            format!("invalid value: Soon: {at}.image.pullPolicy\nmissing field(s): {at}.image.reference"),
        ),
    ] {
        let volumes = json!([merged(json!({"name": "a"}), source.clone())]);
        assert_eq!(of(&volumes, &enabled(&[Feature::ImageVolume])), text, "{source}");
    }
}

#[test]
fn projected_sources_are_one_each_and_complete() {
    let at = "volumes[0].projected[0]";
    let field = json!({"fieldPath": "metadata.labels"});
    let resource = json!({"resource": "limits.cpu"});
    for (source, text) in [
        (json!({"secret": {"name": "s"}}), String::new()),
        (json!({"downwardAPI": {"items": [{"path": "p", "fieldRef": field}]}}), String::new()),
        (
            json!({}),
            format!(
                "expected exactly one, got neither: {at}.configMap, {at}.downwardAPI, {at}.secret, \
                {at}.serviceAccountToken"
            ),
        ),
        (
            json!({"secret": {"name": "s"}, "configMap": {"name": "c"}}),
            format!("expected exactly one, got both: {at}.configMap, {at}.secret"),
        ),
        (
            json!({"configMap": {"items": [{"key": "", "path": "p"}]}}),
            format!("missing field(s): {at}.configMap.items[0].key, {at}.configMap.name"),
        ),
        (
            json!({"serviceAccountToken": {"path": ""}}),
            format!("missing field(s): {at}.serviceAccountToken.path"),
        ),
        (
            json!({"downwardAPI": {"items": [{"path": ""}]}}),
            format!(
                "expected exactly one, got neither: {at}.downwardAPI.items[0].fieldRef, \
                {at}.downwardAPI.items[0].resourceFieldRef\nmissing field(s): {at}.downwardAPI.items[0].path"
            ),
        ),
        (
            json!({"downwardAPI": {"items": [{"path": "p", "fieldRef": field, "resourceFieldRef": resource}]}}),
            format!(
                "Within a single item, cannot set both: {at}.downwardAPI.items[0].fieldRef, \
                {at}.downwardAPI.items[0].resourceFieldRef"
            ),
        ),
    ] {
        let volumes = json!([{"name": "a", "projected": {"sources": [source]}}]);
        assert_eq!(of(&volumes, &config(&[])), text, "{source}");
    }
}

/// Returns what is wrong with mounts of the volumes `dir` (an empty folder), `secret`, and `claim`, which cannot be
/// written.
fn mounted(mounts: &Value, features: &[Feature]) -> String {
    let claim = json!({"claimName": "c", "readOnly": true});
    let volumes = json!([
        {"name": "dir", "emptyDir": {}},
        {"name": "secret", "secret": {}},
        {"name": "claim", "persistentVolumeClaim": claim},
    ]);
    let all = json!([
        {"name": "dir", "mountPath": "/1"},
        {"name": "secret", "mountPath": "/2", "readOnly": true},
        {"name": "claim", "mountPath": "/3", "readOnly": true},
    ]);
    let features: Vec<Feature> = features.iter().copied().chain([Feature::VolumeClaim]).collect();
    let other = with_image(json!({"name": "other", "volumeMounts": all}));
    let spec = json!({
        "containers": [with_image(json!({"ports": [{}], "volumeMounts": mounts})), other],
        "volumes": volumes,
    });
    wrong(spec, &enabled(&features))
}

#[test]
fn mounts_have_places_of_their_own() {
    let at = "containers[0].volumeMounts";
    for (paths, text) in [
        (vec!["/a", "/dev/shm", "/a/b"], String::new()),
        (vec!["/"], format!("mountPath \"/\" is a reserved path: {at}[0].mountPath")),
        (vec!["//dev/./x/.."], format!("mountPath \"/dev\" is a reserved path: {at}[0].mountPath")),
        (vec!["/dev/log/"], format!("mountPath \"/dev/log\" is a reserved path: {at}[0].mountPath")),
        (vec![""], format!("missing field(s): {at}[0].mountPath")),
        (vec!["a/b"], format!("invalid value: a/b: {at}[0].mountPath")),
        (vec!["../.."], format!("invalid value: ../..: {at}[0].mountPath")),
        (vec!["/a", "/b", "/a/"], format!("invalid value: \"/a/\" must be unique: {at}[2].mountPath")),
    ] {
        let mounts = paths.iter().map(|path| json!({"name": "dir", "mountPath": path}));
        assert_eq!(mounted(&mounts.collect(), &[]), text, "{paths:?}");
    }
    let unknown = json!([{"name": "other", "mountPath": "/a"}]);
    assert_eq!(mounted(&unknown, &[]), format!("volumeMount has no matching volume: {at}[0].name"));
}

#[test]
fn what_cannot_be_written_is_mounted_for_reading() {
    let at = "containers[0].volumeMounts[0]";
    for (name, text) in [
        ("dir", String::new()),
        ("secret", format!("volume mount should be readOnly for this type of volume: {at}.readOnly")),
        ("claim", format!("volume is readOnly but volume mount is not: {at}.readOnly")),
    ] {
        let mount = |read_only: bool| json!([{"name": name, "mountPath": "/a", "readOnly": read_only}]);
        assert_eq!(mounted(&mount(false), &[]), text);
        assert_eq!(mounted(&mount(true), &[]), "");
    }
}

#[test]
fn mounts_see_later_mounts_of_the_node_with_a_flag() {
    let of = |way: &str| json!([{"name": "dir", "mountPath": "/a", "mountPropagation": way}]);
    let at = "containers[0].volumeMounts[0].mountPropagation";
    let off =
        "Volume Mount Propagation support is disabled, but found volume mount dir with mount propagation: ";
    assert_eq!(mounted(&of("None"), &[]), format!("{off}\nmust not set the field(s): {at}"));
    for way in ["None", "HostToContainer"] {
        assert_eq!(mounted(&of(way), &[Feature::MountPropagation]), "");
    }
    let text = format!("mount propagation should be set to None or HostToContainer: {at}");
    assert_eq!(mounted(&of("Bidirectional"), &[Feature::MountPropagation]), text);
}
