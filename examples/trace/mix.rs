//! What users change, and how often: a made-up mix. What is known is only its outline: about half of all upgrades
//! change images alone, and images, environment, configuration and probes together are over nine tenths.

/// One kind of change of a template.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    AppImage,
    SidecarImage,
    AllImages,
    EnvValue,
    EnvValues,
    EnvValueAndImage,
    EnvAdded,
    EnvRemoved,
    EnvReferring,
    EnvFrom,
    Checksum,
    ChecksumAndImage,
    RestartedAt,
    ConfigMapName,
    SecretName,
    VolumeAdded,
    ProbeTimes,
    StartupProbe,
    Cpu,
    Memory,
    MemoryWithRestart,
    QosClass,
    Command,
    Ports,
    ContainerAddedOrRemoved,
    GracePeriod,
    Affinity,
    SecurityContext,
    InitImage,
    Toleration,
}

/// A group of kinds, as the table shows it.
pub struct Group {
    pub title: &'static str,
    /// Each with how many of a thousand changes are of it, and its words.
    pub kinds: &'static [(Kind, usize, &'static str)],
}

pub const MIX: &[Group] = &[
    Group {
        title: "image",
        kinds: &[
            (Kind::AppImage, 400, "another tag of the main container"),
            (Kind::SidecarImage, 60, "of a sidecar"),
            (Kind::AllImages, 40, "of all containers"),
        ],
    },
    Group {
        title: "environment",
        kinds: &[
            (Kind::EnvValue, 70, "one literal value"),
            (Kind::EnvValues, 30, "several literal values"),
            (Kind::EnvValueAndImage, 30, "a literal value and an image"),
            (Kind::EnvAdded, 15, "a new variable"),
            (Kind::EnvRemoved, 5, "a variable less"),
            (Kind::EnvReferring, 5, "a value that refers to others with $(NAME)"),
            (Kind::EnvFrom, 5, "another source of envFrom"),
        ],
    },
    Group {
        title: "configuration",
        kinds: &[
            (Kind::Checksum, 50, "a checksum annotation"),
            (Kind::ChecksumAndImage, 20, "a checksum annotation and an image"),
            (Kind::RestartedAt, 20, "kubectl rollout restart"),
            (Kind::ConfigMapName, 30, "a volume of another configMap"),
            (Kind::SecretName, 10, "a volume of another secret"),
            (Kind::VolumeAdded, 10, "a volume more, with its mount"),
        ],
    },
    Group {
        title: "probes and resources",
        kinds: &[
            (Kind::ProbeTimes, 40, "times of the liveness and readiness probes"),
            (Kind::StartupProbe, 10, "times of the startup probe"),
            (Kind::Cpu, 25, "cpu"),
            (Kind::Memory, 25, "memory"),
            (Kind::MemoryWithRestart, 10, "memory of a container that restarts for it"),
            (Kind::QosClass, 10, "resources that change the QoS class"),
        ],
    },
    Group {
        title: "the rest",
        kinds: &[
            (Kind::Command, 20, "arguments"),
            (Kind::Ports, 10, "ports"),
            (Kind::ContainerAddedOrRemoved, 10, "a container more or less"),
            (Kind::GracePeriod, 10, "the termination grace period"),
            (Kind::Affinity, 10, "scheduling"),
            (Kind::SecurityContext, 5, "the security context"),
            (Kind::InitImage, 10, "the image of an init container that runs once"),
            (Kind::Toleration, 5, "a toleration more"),
        ],
    },
];

/// The changes of a trace, in no order: exactly the mix.
pub fn all() -> Vec<Kind> {
    let kinds = MIX.iter().flat_map(|group| group.kinds);
    kinds.flat_map(|(kind, count, _)| std::iter::repeat_n(*kind, *count)).collect()
}
