//! Which field of a template can change in a running Pod: one table, the first row that matches.
//!
//! `docs/inplace.md` is made from it. What no row names is [`Class::Static`].

use crate::model::FieldKind;

/// What a change of a field does to the Pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Class {
    /// The Pod and its containers go on.
    Dynamic,
    /// The Pod stays, containers are re-created.
    Rebuild,
    /// The Pod is re-created.
    Static,
}

/// A kind of change and what it does.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    /// A path in which `*` stands for any part of a name in brackets. `spec.containers` speaks of
    /// restartable init containers too, `spec.initContainers` of those that run once.
    pub path: &'static str,
    pub when: When,
    /// On a cluster that can do it.
    pub class: Class,
    /// What the cluster must be able to do; `None`: every Kubernetes can.
    pub needs: Option<FieldKind>,
    /// What happens, as users read it after the path: `spec.containers[app].image: <can>`.
    pub can: &'static str,
    /// Why the Pod is re-created, likewise, where the cluster cannot do it or nothing can.
    pub cannot: &'static str,
}

/// What must hold beside the path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    Always,
    /// Nothing of the list goes, something comes.
    OnlyAdded,
    /// cpu or memory whose `resizePolicy` is `NotRequired`, and the QoS class stays.
    ResizedRunning,
    /// cpu or memory whose `resizePolicy` is `RestartContainer`, and the QoS class stays.
    ResizedRestarting,
    /// The change of resources would give the Pod another QoS class.
    OtherQosClass,
    /// A request or a limit of cpu or memory goes, and nothing takes its place.
    AmountGoes,
    /// A whole volume comes or goes, of a type that a running Pod can take.
    VolumeComesOrGoes,
    /// The volume is there before and after, each time of the same type, which is configMap, secret
    /// or projected, and nobody mounts a part of it.
    OtherSource,
    /// A probe would knock at another host.
    OtherProbeHost,
    /// A field that this version does not know is part of what differs.
    UnknownField,
    /// Two entries of the list have one name, so none can be named in a patch.
    AmbiguousNames,
}

impl When {
    /// As the docs say it; empty where nothing is asked for.
    pub fn words(self) -> &'static str {
        match self {
            When::Always => "",
            When::OnlyAdded => "only additions",
            When::ResizedRunning => "cpu and memory, `resizePolicy` NotRequired, QoS class unchanged",
            When::ResizedRestarting => "cpu and memory, `resizePolicy` RestartContainer, QoS class unchanged",
            When::OtherQosClass => "the QoS class would change",
            When::AmountGoes => "a request or a limit of cpu or memory is removed",
            When::VolumeComesOrGoes => {
                "added or removed: configMap, secret, projected, downwardAPI, emptyDir, persistentVolumeClaim that is bound"
            }
            When::OtherSource => "of the same type: configMap, secret or projected, with no `subPath` mount of it",
            When::OtherProbeHost => "its `host` changes",
            When::UnknownField => "fields that this version does not know",
            When::AmbiguousNames => "two entries of one name",
        }
    }
}

const RESTART: &str = "a change of this annotation asks for a restart: all containers are re-created";
const PLAIN: &str = "annotations of a running Pod can be changed";
const INJECTOR: &str = "this annotation is read by an injector only when a Pod is created";
const VOLUMES: &str = "a running Pod's volumes cannot be changed";
const MOUNTS: &str = "a running Pod's mounts cannot be changed";
const ENV: &str = "the environment of a running Pod cannot be changed";
const PROBES: &str = "the probes of a running Pod cannot be changed";
const PROBE_HOST: &str = "the host of a probe is checked only when a Pod is created";
const UNKNOWN: &str = "this version does not know this field";
const RESOURCES: &str = "a change of these resources takes a new Pod";
const CONTAINER: &str = "this field of a running Pod's container cannot be changed";
const ADDED: &str = "a running Pod's containers cannot be added or removed";
const RUNS_ONCE: &str = "an init container that runs once runs again only in a new Pod";

/// The table. Rows are looked at from the top.
pub const ROWS: &[Row] = &[
    // Annotations that mean more than their text.
    restart("metadata.annotations[kubectl.kubernetes.io/restartedAt]"),
    restart("metadata.annotations[checksum/*]"),
    restart("metadata.annotations[*/checksum]"),
    restart("metadata.annotations[*.reloader.stakater.com/*]"),
    restart("metadata.annotations[reloader.stakater.com/*]"),
    never("metadata.annotations[sidecar.istio.io/*]", INJECTOR),
    never("metadata.annotations[vault.hashicorp.com/*]", INJECTOR),
    never("metadata.annotations[linkerd.io/*]", INJECTOR),
    never("metadata.annotations[config.linkerd.io/*]", INJECTOR),
    // What a Pod takes while everything in it goes on.
    can("metadata.labels[*]", Class::Dynamic, None, "labels of a running Pod can be changed", ""),
    can("metadata.annotations[*]", Class::Dynamic, None, PLAIN, ""),
    never("spec.containers[*].*", UNKNOWN).when(When::UnknownField),
    never("spec.volumes[*]*", UNKNOWN).when(When::UnknownField),
    never("spec.tolerations", UNKNOWN).when(When::UnknownField),
    can("spec.tolerations", Class::Dynamic, None, "a running Pod can be given more tolerations", "")
        .when(When::OnlyAdded),
    never("spec.tolerations", "a running Pod can be given more tolerations, and loses none"),
    never("spec.containers[*].resources*", "a Pod's QoS class is fixed for its life, and this would change it")
        .when(When::OtherQosClass),
    never("spec.containers[*].resources*", "a resize changes and adds requests and limits, and removes none")
        .when(When::AmountGoes),
    can(
        "spec.containers[*].resources*",
        Class::Dynamic,
        Some(FieldKind::Resize),
        "the running container is resized",
        RESOURCES,
    )
    .when(When::ResizedRunning),
    never("spec.containers[*].livenessProbe*", PROBE_HOST).when(When::OtherProbeHost),
    never("spec.containers[*].readinessProbe*", PROBE_HOST).when(When::OtherProbeHost),
    can(
        "spec.containers[*].livenessProbe*",
        Class::Dynamic,
        Some(FieldKind::Probes),
        "the kubelet goes on with the new probe",
        PROBES,
    ),
    can(
        "spec.containers[*].readinessProbe*",
        Class::Dynamic,
        Some(FieldKind::Probes),
        "the kubelet goes on with the new probe",
        PROBES,
    ),
    can(
        "spec.volumes[*]*",
        Class::Dynamic,
        Some(FieldKind::VolumeSources),
        "the files are swapped in the running containers",
        VOLUMES,
    )
    .when(When::OtherSource),
    // What re-creates containers.
    can("spec.containers[*].image", Class::Rebuild, None, "the container is re-created with the new image", ""),
    can(
        "spec.containers[*].resources*",
        Class::Rebuild,
        Some(FieldKind::Resize),
        "the container is re-created with the new resources",
        RESOURCES,
    )
    .when(When::ResizedRestarting),
    never("spec.containers[*].env", "two variables of one name cannot be told apart in a patch")
        .when(When::AmbiguousNames),
    can(
        "spec.containers[*].env*",
        Class::Rebuild,
        Some(FieldKind::Env),
        "the container is re-created with the new environment",
        ENV,
    ),
    can(
        "spec.containers[*].volumeMounts*",
        Class::Rebuild,
        Some(FieldKind::VolumeMounts),
        "the container is re-created with the new mounts",
        MOUNTS,
    ),
    can(
        "spec.volumes[*]",
        Class::Rebuild,
        Some(FieldKind::Volumes),
        "the volume comes or goes with the containers that mount it",
        VOLUMES,
    )
    .when(When::VolumeComesOrGoes),
    // What takes a new Pod. These rows give the reason only.
    never("spec.initContainers", "the order of init containers is fixed for a Pod's life"),
    never("spec.initContainers[*]", ADDED),
    never("spec.containers[*]", ADDED),
    never("spec.initContainers[*].*", RUNS_ONCE),
    never("spec.containers[*].imagePullPolicy", "a running Pod's pull policy cannot be changed"),
    never("spec.containers[*].volumeDevices*", MOUNTS),
    never("spec.containers[*].resources*", RESOURCES),
    never("spec.containers[*].resizePolicy*", "a running Pod's resize policy cannot be changed"),
    never("spec.containers[*].startupProbe*", "a startup probe has done its work in a running Pod"),
    never("spec.containers[*].*", CONTAINER),
    never("spec.volumes*", VOLUMES),
    never("spec.resources*", RESOURCES),
];

/// Everything that no row names.
const OTHERWISE: Row = never("*", "this field of a running Pod cannot be changed");

const fn restart(path: &'static str) -> Row {
    can(path, Class::Rebuild, None, RESTART, "")
}

/// The row of an annotation, where the set and the manager's flags say what it means.
pub fn annotation_row(is_an_injectors: bool, asks_for_restart: bool) -> Row {
    const ANY: &str = "metadata.annotations[*]";
    match (is_an_injectors, asks_for_restart) {
        (true, _) => never(ANY, INJECTOR),
        (false, true) => restart(ANY),
        (false, false) => can(ANY, Class::Dynamic, None, PLAIN, ""),
    }
}

const fn can(
    path: &'static str,
    class: Class,
    needs: Option<FieldKind>,
    can: &'static str,
    cannot: &'static str,
) -> Row {
    Row { path, when: When::Always, class, needs, can, cannot }
}

const fn never(path: &'static str, cannot: &'static str) -> Row {
    Row { path, when: When::Always, class: Class::Static, needs: None, can: "", cannot }
}

impl Row {
    const fn when(self, when: When) -> Row {
        Row { when, ..self }
    }

    /// What users read where the cluster can do it.
    pub fn reason(&self) -> &'static str {
        if self.class == Class::Static { self.cannot } else { self.can }
    }
}

/// The row for a path such as `spec.containers[app].image`, where `when` holds for the change.
/// `restartable_init`: the path is in an init container that is restartable before and after it,
/// and so treated as a container.
pub fn row_for(path: &str, when: When, restartable_init: bool) -> Row {
    let as_container = path.strip_prefix("spec.initContainers[").filter(|_| restartable_init);
    let path = as_container.map_or_else(|| path.to_owned(), |rest| format!("spec.containers[{rest}"));
    ROWS.iter()
        .find(|row| (row.when == When::Always || row.when == when) && matches(row.path, &path))
        .copied()
        .unwrap_or(OTHERWISE)
}

/// Whether a path fits a pattern. A `*` at the pattern's end stands for the whole rest; any other
/// for what does not leave its brackets. A `*]` at the end is inside its brackets.
fn matches(pattern: &str, path: &str) -> bool {
    let Some((before, after)) = pattern.split_once('*') else {
        return pattern == path;
    };
    let Some(rest) = path.strip_prefix(before) else {
        return false;
    };
    if after.is_empty() {
        return true;
    }
    let reach = rest.find(']').unwrap_or(rest.len());
    (0..=reach).filter(|end| rest.is_char_boundary(*end)).any(|end| matches(after, &rest[end..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_row_of_the_contract() {
        use When::*;
        for (path, when, class, needs) in [
            ("metadata.labels[app.kubernetes.io/version]", Always, Class::Dynamic, None),
            ("metadata.annotations[note]", Always, Class::Dynamic, None),
            ("metadata.annotations[my.checksum/x]", Always, Class::Dynamic, None),
            ("metadata.annotations[kubectl.kubernetes.io/restartedAt]", Always, Class::Rebuild, None),
            ("metadata.annotations[checksum/config]", Always, Class::Rebuild, None),
            ("metadata.annotations[example.com/checksum]", Always, Class::Rebuild, None),
            ("metadata.annotations[configmap.reloader.stakater.com/reload]", Always, Class::Rebuild, None),
            ("metadata.annotations[reloader.stakater.com/auto]", Always, Class::Rebuild, None),
            ("metadata.annotations[sidecar.istio.io/inject]", Always, Class::Static, None),
            ("metadata.annotations[vault.hashicorp.com/role]", Always, Class::Static, None),
            ("metadata.annotations[linkerd.io/inject]", Always, Class::Static, None),
            ("metadata.annotations[config.linkerd.io/proxy-cpu-limit]", Always, Class::Static, None),
            ("metadata.finalizers", Always, Class::Static, None),
            ("spec.containers[app].image", Always, Class::Rebuild, None),
            ("spec.containers[app].imagePullPolicy", Always, Class::Static, None),
            ("spec.containers[app].env[MODE].value", Always, Class::Rebuild, Some(FieldKind::Env)),
            ("spec.containers[app].env[MODE]", Always, Class::Rebuild, Some(FieldKind::Env)),
            ("spec.containers[app].env", Always, Class::Rebuild, Some(FieldKind::Env)),
            ("spec.containers[app].env", AmbiguousNames, Class::Static, None),
            ("spec.containers[app].envFrom", Always, Class::Rebuild, Some(FieldKind::Env)),
            ("spec.containers[app].volumeMounts[/x].name", Always, Class::Rebuild, Some(FieldKind::VolumeMounts)),
            ("spec.containers[app].livenessProbe.exec.command", Always, Class::Dynamic, Some(FieldKind::Probes)),
            ("spec.containers[app].readinessProbe", Always, Class::Dynamic, Some(FieldKind::Probes)),
            ("spec.containers[app].startupProbe", Always, Class::Static, None),
            ("spec.containers[app].resources.limits[cpu]", ResizedRunning, Class::Dynamic, Some(FieldKind::Resize)),
            ("spec.containers[app].resources.limits[cpu]", ResizedRestarting, Class::Rebuild, Some(FieldKind::Resize)),
            ("spec.containers[app].resources.limits[cpu]", OtherQosClass, Class::Static, None),
            ("spec.containers[app].resources.limits[cpu]", AmountGoes, Class::Static, None),
            ("spec.containers[app].resources.limits[nvidia.com/gpu]", Always, Class::Static, None),
            ("spec.containers[app].resizePolicy[cpu].restartPolicy", Always, Class::Static, None),
            ("spec.containers[app].ports[80/TCP]", Always, Class::Static, None),
            ("spec.containers[app].command", Always, Class::Static, None),
            ("spec.containers[app]", Always, Class::Static, None),
            ("spec.initContainers[setup].image", Always, Class::Static, None),
            ("spec.initContainers[setup].env[A].value", Always, Class::Static, None),
            ("spec.initContainers", Always, Class::Static, None),
            ("spec.volumes[data]", VolumeComesOrGoes, Class::Rebuild, Some(FieldKind::Volumes)),
            ("spec.volumes[data].configMap.name", OtherSource, Class::Dynamic, Some(FieldKind::VolumeSources)),
            ("spec.volumes[data]", Always, Class::Static, None),
            ("spec.volumes[data].emptyDir.sizeLimit", Always, Class::Static, None),
            ("spec.tolerations", OnlyAdded, Class::Dynamic, None),
            ("spec.tolerations", Always, Class::Static, None),
            ("spec.resources.limits", Always, Class::Static, None),
            ("spec.fieldOfTomorrow", Always, Class::Static, None),
            ("other", Always, Class::Static, None),
        ] {
            let row = row_for(path, when, false);
            assert_eq!((row.class, row.needs), (class, needs), "{path} {when:?}");
            assert!(!row.reason().is_empty(), "{path}");
        }
        let of_proxy = |field: &str, init| row_for(&format!("spec.initContainers[proxy].{field}"), When::Always, init);
        assert_eq!(of_proxy("image", true).class, Class::Rebuild);
        assert_eq!(of_proxy("env", true).class, Class::Rebuild);
        assert_eq!(of_proxy("env", false).class, Class::Static);
        assert_eq!(row_for("spec.initContainers[proxy]", When::Always, true).class, Class::Static);
    }

    #[test]
    fn a_star_stays_in_its_brackets() {
        assert!(matches("a[*].image", "a[x].image"));
        assert!(!matches("a[*].image", "a[x].b[y].image"));
        assert!(!matches("a[*]", "a[x].image"));
        assert!(matches("a[*].*", "a[x].b[y]"));
        assert!(matches("a[*]*", "a[x]"));
        assert!(matches("a[*/b]", "a[é/b]"));
    }

    #[test]
    fn no_row_is_dead() {
        for (index, row) in ROWS.iter().enumerate() {
            let path = row.path.replace('*', "x");
            let first = ROWS
                .iter()
                .position(|other| (other.when == When::Always || row.when == other.when) && matches(other.path, &path));
            assert_eq!(first, Some(index), "{} is hidden by an earlier row", row.path);
        }
    }

    #[test]
    fn what_the_cluster_may_lack_has_a_reason_for_it() {
        for row in ROWS {
            assert_eq!(row.cannot.is_empty(), row.needs.is_none() && row.class != Class::Static, "{}", row.path);
            assert_eq!(row.can.is_empty(), row.class == Class::Static, "{}", row.path);
        }
    }
}
