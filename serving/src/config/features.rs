//! `config-features`: what is allowed beyond what always is.

use std::collections::BTreeMap;

use super::{Fault, Map, reader::Reader, setting::Setting};

const SECURE_DEFAULTS: Setting = Setting::new("secure-pod-defaults");
/// Features of the reference's own sidecar.
const SIDECAR: [Setting; 2] = [
    Setting::new("queueproxy.mount-podinfo").idle("Disabled"),
    Setting::new("queueproxy.resource-defaults").idle("Disabled"),
];

/// Returns the keys of the map.
pub(super) fn settings() -> Vec<Setting> {
    let features = Feature::ALL.iter().map(|feature| match feature {
        Feature::TagHeader | Feature::AutodetectHttp2 => Setting::new(feature.key()).idle("Disabled"),
        _ => Setting::new(feature.key()),
    });
    features.chain([SECURE_DEFAULTS]).chain(SIDECAR).collect()
}

/// Whether a feature may be used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Flag {
    /// It may, and is in effect by default.
    Enabled,
    /// It may if a revision asks for it.
    Allowed,
    /// It may not.
    #[default]
    Disabled,
}

macro_rules! features {
    ($($name:ident = $key:literal: $default:ident, $doc:literal;)*) => {
        /// A feature, by its key.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Feature {
            $(#[doc = $doc] $name,)*
        }

        impl Feature {
            /// All features.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// Returns its key in `config-features`.
            pub fn key(self) -> &'static str {
                match self { $(Self::$name => $key,)* }
            }

            /// Returns what holds without the key.
            pub fn default_flag(self) -> Flag {
                match self { $(Self::$name => Flag::$default,)* }
            }
        }
    };
}

features! {
    MultiContainer = "multi-container": Enabled, "More than one container.";
    MultiContainerProbing = "multi-container-probing": Disabled, "Probes of containers that take no requests.";
    EmptyDir = "kubernetes.podspec-volumes-emptydir": Enabled, "`emptyDir`.";
    VolumeClaim = "kubernetes.podspec-persistent-volume-claim": Disabled, "`persistentVolumeClaim`.";
    VolumeWrite = "kubernetes.podspec-persistent-volume-write": Disabled, "Volume claims that are written to.";
    HostPath = "kubernetes.podspec-volumes-hostpath": Disabled, "`hostPath`.";
    Csi = "kubernetes.podspec-volumes-csi": Disabled, "`csi`.";
    Ephemeral = "kubernetes.podspec-volumes-ephemeral": Disabled, "`ephemeral`.";
    ImageVolume = "kubernetes.podspec-volumes-image": Disabled, "`image` as a volume.";
    MountPropagation = "kubernetes.podspec-volumes-mount-propagation": Disabled, "`mountPropagation`.";
    InitContainers = "kubernetes.podspec-init-containers": Disabled, "`initContainers`.";
    AddCapabilities = "kubernetes.containerspec-addcapabilities": Disabled, "`capabilities.add`.";
    Affinity = "kubernetes.podspec-affinity": Disabled, "`affinity`.";
    DnsConfig = "kubernetes.podspec-dnsconfig": Disabled, "`dnsConfig`.";
    DnsPolicy = "kubernetes.podspec-dnspolicy": Disabled, "`dnsPolicy`.";
    FieldRef = "kubernetes.podspec-fieldref": Disabled, "`fieldRef` and `resourceFieldRef`.";
    HostAliases = "kubernetes.podspec-hostaliases": Disabled, "`hostAliases`.";
    HostIpc = "kubernetes.podspec-hostipc": Disabled, "`hostIPC`.";
    HostNetwork = "kubernetes.podspec-hostnetwork": Disabled, "`hostNetwork`.";
    HostPid = "kubernetes.podspec-hostpid": Disabled, "`hostPID`.";
    NodeSelector = "kubernetes.podspec-nodeselector": Disabled, "`nodeSelector`.";
    PriorityClassName = "kubernetes.podspec-priorityclassname": Disabled, "`priorityClassName`.";
    RuntimeClassName = "kubernetes.podspec-runtimeclassname": Disabled, "`runtimeClassName`.";
    SchedulerName = "kubernetes.podspec-schedulername": Disabled, "`schedulerName`.";
    SecurityContext = "kubernetes.podspec-securitycontext": Disabled, "The pod's `securityContext`.";
    ShareProcessNamespace = "kubernetes.podspec-shareprocessnamespace": Disabled, "`shareProcessNamespace`.";
    Tolerations = "kubernetes.podspec-tolerations": Disabled, "`tolerations`.";
    TopologySpread = "kubernetes.podspec-topologyspreadconstraints": Disabled, "`topologySpreadConstraints`.";
    TagHeader = "tag-header-based-routing": Disabled, "Choosing a tag by a header.";
    AutodetectHttp2 = "autodetect-http2": Disabled, "Finding out whether an app speaks HTTP/2.";
}

/// How secure a pod is that says nothing itself (`secure-pod-defaults`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SecureDefaults {
    /// As Kubernetes has it.
    #[default]
    Disabled,
    /// No more rights than root within its container has.
    AllowRootBounded,
    /// Also not as root.
    Enabled,
}

/// Which features may be used.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Features {
    set: BTreeMap<Feature, Flag>,
    /// `secure-pod-defaults`.
    pub secure_defaults: SecureDefaults,
}

impl Features {
    /// Returns whether a feature may be used.
    pub fn of(&self, feature: Feature) -> Flag {
        self.set.get(&feature).copied().unwrap_or(feature.default_flag())
    }

    /// Returns whether a feature is `Enabled`.
    pub fn is_enabled(&self, feature: Feature) -> bool {
        self.of(feature) == Flag::Enabled
    }

    /// Sets a feature.
    pub fn set(&mut self, feature: Feature, flag: Flag) {
        self.set.insert(feature, flag);
    }
}

impl Features {
    /// Reads the map; absent keys have their defaults, and unknown ones are ignored. A value that is not known is a
    /// mistake: a feature that is not in effect although it seems to be is hard to find.
    ///
    /// # Errors
    ///
    /// Returns everything that is wrong with it.
    pub fn read(data: &BTreeMap<String, String>) -> Result<Self, Vec<Fault>> {
        let mut read = Self::default();
        let mut from = Reader::new(Map::Features, data);
        let flags = [("Enabled", Flag::Enabled), ("Allowed", Flag::Allowed), ("Disabled", Flag::Disabled)];
        for feature in Feature::ALL {
            let mut flag = feature.default_flag();
            from.word(&Setting::new(feature.key()), &mut flag, &flags);
            if flag != feature.default_flag() {
                read.set(*feature, flag);
            }
        }
        for setting in SIDECAR {
            from.word(&setting, &mut Flag::default(), &flags);
        }
        let modes = [
            ("Disabled", SecureDefaults::Disabled),
            ("AllowRootBounded", SecureDefaults::AllowRootBounded),
            ("Enabled", SecureDefaults::Enabled),
        ];
        from.word(&SECURE_DEFAULTS, &mut read.secure_defaults, &modes);
        from.finish(read)
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::fixtures::{data, faults},
        *,
    };

    #[test]
    fn two_features_are_enabled_by_default() {
        let read = Features::read(&data(&[("_example", "x")])).unwrap();
        assert_eq!(read, Features::default());
        for feature in Feature::ALL {
            let is_enabled = [Feature::MultiContainer, Feature::EmptyDir].contains(feature);
            let want = if is_enabled { Flag::Enabled } else { Flag::Disabled };
            assert_eq!(read.of(*feature), want, "{feature:?}");
        }
    }

    #[test]
    fn each_feature_has_three_flags_in_any_case() {
        for feature in Feature::ALL {
            for (value, want) in [
                ("Enabled", Flag::Enabled),
                ("allowed", Flag::Allowed),
                ("DISABLED", Flag::Disabled),
                ("", feature.default_flag()),
            ] {
                let read = Features::read(&data(&[(feature.key(), value)])).unwrap();
                assert_eq!(read.of(*feature), want, "{}: {value}", feature.key());
                assert_eq!(read.is_enabled(*feature), want == Flag::Enabled);
            }
            let text =
                format!("{}: \"Enable\" is not supported; want Enabled, Allowed or Disabled", feature.key());
            assert_eq!(faults(Features::read(&data(&[(feature.key(), "Enable")]))), [text]);
        }
    }

    #[test]
    fn a_flag_that_says_the_default_changes_nothing() {
        assert_eq!(Features::read(&data(&[("multi-container", "enabled")])), Ok(Features::default()));
    }

    #[test]
    fn secure_defaults_have_modes_of_their_own() {
        for (value, want) in [
            ("disabled", SecureDefaults::Disabled),
            ("allowrootbounded", SecureDefaults::AllowRootBounded),
            ("Enabled", SecureDefaults::Enabled),
        ] {
            let read = Features::read(&data(&[("secure-pod-defaults", value)])).unwrap();
            assert_eq!(read.secure_defaults, want, "{value}");
        }
        let text =
            "secure-pod-defaults: \"Allowed\" is not supported; want Disabled, AllowRootBounded or Enabled";
        assert_eq!(faults(Features::read(&data(&[("secure-pod-defaults", "Allowed")]))), [text]);
    }

    #[test]
    fn flags_of_the_sidecar_are_accepted_if_they_are_flags() {
        for key in ["queueproxy.mount-podinfo", "queueproxy.resource-defaults"] {
            assert_eq!(Features::read(&data(&[(key, "Allowed")])), Ok(Features::default()));
            let text = format!("{key}: \"on\" is not supported; want Enabled, Allowed or Disabled");
            assert_eq!(faults(Features::read(&data(&[(key, "on")]))), [text]);
        }
    }
}
