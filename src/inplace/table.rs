//! Which field of a template can change in a running Pod: one table, the first row that matches.
//!
//! It speaks of stock clusters, 1.33 and later. What no row names is [`Class::Static`].

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
    /// A path in which `*` stands for any part of a name in brackets.
    pub path: &'static str,
    pub holder: Holder,
    pub class: Class,
    /// As users read it, after the path: `spec.containers[app].env[MODE]: <reason>`.
    pub reason: &'static str,
}

/// Which containers a row speaks of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Holder {
    /// All, and what is in no container.
    Any,
    /// Init containers with `restartPolicy: Always`, before and after the change.
    RestartableInit,
}

const RESTART: &str = "a change of this annotation asks for a restart, which takes a new Pod";
const INJECTOR: &str = "this annotation is read by an injector only when a Pod is created";
const MOUNTS: &str = "a running Pod's volumes and mounts cannot be changed";
const ENV: &str = "the environment of a running Pod cannot be changed";
const PROBES: &str = "the probes of a running Pod cannot be changed";
const RESOURCES: &str = "a change of resources takes a new Pod";
const CONTAINER: &str = "this field of a running Pod's container cannot be changed";

/// The table. Rows are looked at from the top.
pub const ROWS: &[Row] = &[
    // Annotations that mean more than their text.
    row("metadata.annotations[kubectl.kubernetes.io/restartedAt]", Class::Static, RESTART),
    row("metadata.annotations[checksum/*]", Class::Static, RESTART),
    row("metadata.annotations[*/checksum]", Class::Static, RESTART),
    row("metadata.annotations[*.reloader.stakater.com/*]", Class::Static, RESTART),
    row("metadata.annotations[reloader.stakater.com/*]", Class::Static, RESTART),
    row("metadata.annotations[sidecar.istio.io/*]", Class::Static, INJECTOR),
    row("metadata.annotations[vault.hashicorp.com/*]", Class::Static, INJECTOR),
    row("metadata.annotations[linkerd.io/*]", Class::Static, INJECTOR),
    row("metadata.annotations[config.linkerd.io/*]", Class::Static, INJECTOR),
    // What a Pod takes while everything in it goes on.
    row("metadata.labels[*]", Class::Dynamic, "labels of a running Pod can be changed"),
    row("metadata.annotations[*]", Class::Dynamic, "annotations of a running Pod can be changed"),
    // What re-creates containers.
    row("spec.containers[*].image", Class::Rebuild, "the container is re-created with the new image"),
    Row {
        path: "spec.initContainers[*].image",
        holder: Holder::RestartableInit,
        class: Class::Rebuild,
        reason: "the container is re-created with the new image",
    },
    // What takes a new Pod. These rows give the reason only.
    row("spec.initContainers", Class::Static, "the order of init containers is fixed for a Pod's life"),
    row("spec.initContainers[*]", Class::Static, "a running Pod's containers cannot be added or removed"),
    row("spec.containers[*]", Class::Static, "a running Pod's containers cannot be added or removed"),
    row("spec.initContainers[*].image", Class::Static, "an init container that runs once runs again only in a new Pod"),
    row("spec.containers[*].imagePullPolicy", Class::Static, "a running Pod's pull policy cannot be changed"),
    row("spec.containers[*].env*", Class::Static, ENV),
    row("spec.containers[*].volumeMounts*", Class::Static, MOUNTS),
    row("spec.containers[*].volumeDevices*", Class::Static, MOUNTS),
    row("spec.containers[*].resources*", Class::Static, RESOURCES),
    row("spec.containers[*].livenessProbe*", Class::Static, PROBES),
    row("spec.containers[*].readinessProbe*", Class::Static, PROBES),
    row("spec.containers[*].startupProbe*", Class::Static, PROBES),
    row("spec.containers[*].*", Class::Static, CONTAINER),
    row("spec.initContainers[*].*", Class::Static, CONTAINER),
    row("spec.volumes*", Class::Static, MOUNTS),
    row("spec.tolerations*", Class::Static, "a change of tolerations takes a new Pod"),
    row("spec.resources*", Class::Static, RESOURCES),
];

/// Everything that no row names.
const OTHERWISE: Row = row("*", Class::Static, "this field of a running Pod cannot be changed");

const fn row(path: &'static str, class: Class, reason: &'static str) -> Row {
    Row { path, holder: Holder::Any, class, reason }
}

/// The row for a path such as `spec.containers[app].image`. `restartable_init`: the path is in an
/// init container that is restartable before and after the change.
pub fn row_for(path: &str, restartable_init: bool) -> Row {
    ROWS.iter()
        .find(|row| (row.holder == Holder::Any || restartable_init) && matches(row.path, path))
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
        for (path, class) in [
            ("metadata.labels[app.kubernetes.io/version]", Class::Dynamic),
            ("metadata.annotations[note]", Class::Dynamic),
            ("metadata.annotations[my.checksum/x]", Class::Dynamic),
            ("metadata.annotations[kubectl.kubernetes.io/restartedAt]", Class::Static),
            ("metadata.annotations[checksum/config]", Class::Static),
            ("metadata.annotations[example.com/checksum]", Class::Static),
            ("metadata.annotations[configmap.reloader.stakater.com/reload]", Class::Static),
            ("metadata.annotations[reloader.stakater.com/auto]", Class::Static),
            ("metadata.annotations[sidecar.istio.io/inject]", Class::Static),
            ("metadata.annotations[vault.hashicorp.com/role]", Class::Static),
            ("metadata.annotations[linkerd.io/inject]", Class::Static),
            ("metadata.annotations[config.linkerd.io/proxy-cpu-limit]", Class::Static),
            ("metadata.finalizers", Class::Static),
            ("spec.containers[app].image", Class::Rebuild),
            ("spec.containers[app].imagePullPolicy", Class::Static),
            ("spec.containers[app].env[MODE].value", Class::Static),
            ("spec.containers[app].ports[80/TCP]", Class::Static),
            ("spec.containers[app]", Class::Static),
            ("spec.initContainers[setup].image", Class::Static),
            ("spec.initContainers", Class::Static),
            ("spec.volumes[data]", Class::Static),
            ("spec.tolerations", Class::Static),
            ("spec.fieldOfTomorrow", Class::Static),
            ("other", Class::Static),
        ] {
            assert_eq!(row_for(path, false).class, class, "{path}");
        }
        assert_eq!(row_for("spec.initContainers[proxy].image", true).class, Class::Rebuild);
        assert_eq!(row_for("spec.initContainers[proxy].env", true).class, Class::Static);
    }

    #[test]
    fn a_star_stays_in_its_brackets() {
        assert!(matches("a[*].image", "a[x].image"));
        assert!(!matches("a[*].image", "a[x].b[y].image"));
        assert!(!matches("a[*]", "a[x].image"));
        assert!(matches("a[*].*", "a[x].b[y]"));
        assert!(matches("a[*/b]", "a[é/b]"));
    }

    #[test]
    fn no_row_is_dead() {
        for (index, row) in ROWS.iter().enumerate() {
            let path = row.path.replace('*', "x");
            let first = ROWS.iter().position(|other| {
                (other.holder == Holder::Any || row.holder == other.holder) && matches(other.path, &path)
            });
            assert_eq!(first, Some(index), "{} is hidden by an earlier row", row.path);
        }
    }
}
