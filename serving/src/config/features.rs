//! `config-features`: what is allowed beyond what always is.

use std::collections::BTreeMap;

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
