//! What decides about a field's class beside its path: the container or volume that it is in, and
//! the Pod's QoS class.

use std::collections::BTreeSet;

use serde_json::Value;

use super::diff::{Entry, is_restartable};
use super::qos::qos_class;
use super::table::When;

/// Types of volumes that may come to, and go from, a running Pod.
const MOVABLE_VOLUMES: &[&str] =
    &["configMap", "secret", "projected", "downwardAPI", "emptyDir", "persistentVolumeClaim"];
/// Types of volumes whose files the kubelet swaps.
const SWAPPED_VOLUMES: &[&str] = &["configMap", "secret", "projected"];
/// Resources that a running container can be given more or less of.
pub const RESIZABLE: &[&str] = &["cpu", "memory"];

/// Fields of environments, mounts, probes, volumes and tolerations whose meaning for a running Pod is known, by the field
/// that they are in. What is in none of these holds no fields.
const KNOWN_FIELDS: &[(&str, &[&str])] = &[
    ("env", &["name", "value", "valueFrom"]),
    ("valueFrom", &["fieldRef", "resourceFieldRef", "configMapKeyRef", "secretKeyRef", "fileKeyRef"]),
    ("fieldRef", &["apiVersion", "fieldPath"]),
    ("resourceFieldRef", &["containerName", "resource", "divisor"]),
    ("configMapKeyRef", &["name", "key", "optional"]),
    ("secretKeyRef", &["name", "key", "optional"]),
    ("fileKeyRef", &["volumeName", "path", "key", "optional"]),
    ("envFrom", &["prefix", "configMapRef", "secretRef"]),
    ("configMapRef", &["name", "optional"]),
    ("secretRef", &["name", "optional"]),
    (
        "volumeMounts",
        &["name", "mountPath", "subPath", "subPathExpr", "readOnly", "recursiveReadOnly", "mountPropagation"],
    ),
    ("livenessProbe", PROBE_FIELDS),
    ("readinessProbe", PROBE_FIELDS),
    ("exec", &["command"]),
    ("httpGet", &["path", "port", "host", "scheme", "httpHeaders"]),
    ("httpHeaders", &["name", "value"]),
    ("tcpSocket", &["port", "host"]),
    ("grpc", &["port", "service"]),
    ("volumes", &["name", "configMap", "secret", "projected", "downwardAPI", "emptyDir", "persistentVolumeClaim"]),
    ("configMap", &["name", "items", "defaultMode", "optional"]),
    // A volume's has the one name, a projected volume's the other.
    ("secret", &["secretName", "name", "items", "defaultMode", "optional"]),
    ("projected", &["sources", "defaultMode"]),
    ("sources", &["configMap", "secret", "downwardAPI", "serviceAccountToken", "clusterTrustBundle", "podCertificate"]),
    ("downwardAPI", &["items", "defaultMode"]),
    ("items", &["key", "path", "mode", "fieldRef", "resourceFieldRef"]),
    ("serviceAccountToken", &["audience", "expirationSeconds", "path"]),
    ("clusterTrustBundle", &["name", "signerName", "labelSelector", "optional", "path"]),
    ("labelSelector", &["matchLabels", "matchExpressions"]),
    ("matchExpressions", &["key", "operator", "values"]),
    (
        "podCertificate",
        &["signerName", "keyType", "maxExpirationSeconds", "credentialBundlePath", "keyPath", "certificateChainPath"],
    ),
    ("emptyDir", &["medium", "sizeLimit"]),
    ("persistentVolumeClaim", &["claimName", "readOnly"]),
    ("tolerations", &["key", "operator", "value", "effect", "tolerationSeconds"]),
];
const PROBE_FIELDS: &[&str] = &[
    "exec",
    "httpGet",
    "tcpSocket",
    "grpc",
    "initialDelaySeconds",
    "timeoutSeconds",
    "periodSeconds",
    "successThreshold",
    "failureThreshold",
    "terminationGracePeriodSeconds",
];
/// Parts of a Pod that a running one can take, as far as their fields are known.
const CHECKED_PARTS: &[&str] = &[
    "spec.containers[].env",
    "spec.containers[].envFrom",
    "spec.containers[].volumeMounts",
    "spec.containers[].livenessProbe",
    "spec.containers[].readinessProbe",
    "spec.volumes[]",
    "spec.tolerations",
];

/// The container or volume around a field, before and after.
#[derive(Clone)]
pub(super) struct Around<'a> {
    pub entry: Entry,
    old: Option<&'a Value>,
    new: Option<&'a Value>,
}

impl<'a> Around<'a> {
    /// `shape`: the list's path with brackets emptied.
    pub fn of(shape: &str, name: &str, old: Option<&'a Value>, new: Option<&'a Value>) -> Option<Self> {
        let list = match shape {
            "spec.containers" => "containers",
            "spec.initContainers" => "initContainers",
            "spec.volumes" => "volumes",
            _ => return None,
        };
        Some(Around { entry: Entry { list, name: name.into() }, old, new })
    }

    /// Where a probe knocks may not change: policies look at it only when a Pod is created.
    fn probe_hosts_differ(&self) -> bool {
        let hosts = |side: Option<&Value>| -> Vec<Value> {
            let probes = ["livenessProbe", "readinessProbe"].into_iter();
            let handlers =
                probes.flat_map(|probe| ["httpGet", "tcpSocket"].map(|handler| format!("/{probe}/{handler}/host")));
            handlers.filter_map(|pointer| side?.pointer(&pointer).cloned()).collect()
        };
        hosts(self.old) != hosts(self.new)
    }

    pub fn is_restartable_init(&self) -> bool {
        self.entry.list == "initContainers" && [self.old, self.new].iter().all(|side| side.is_some_and(is_restartable))
    }
}

/// What is to be known of both templates.
pub(super) struct Surroundings {
    qos_class_changes: bool,
    /// Volumes of which some container mounts a part: those files are never swapped.
    mounted_in_part: BTreeSet<String>,
}

impl Surroundings {
    pub fn of(old: &Value, new: &Value) -> Self {
        let mounted_in_part = [old, new].into_iter().flat_map(volumes_mounted_in_part).collect();
        Surroundings { qos_class_changes: qos_class(old) != qos_class(new), mounted_in_part }
    }

    /// What holds for one difference.
    pub fn when(
        &self,
        shape: &str,
        path: &str,
        around: Option<&Around<'_>>,
        old: Option<&Value>,
        new: Option<&Value>,
    ) -> When {
        if has_unknown_fields(shape, old, new) {
            return When::UnknownField;
        }
        match (shape, around) {
            ("spec.tolerations", _) if only_added(old, new) => When::OnlyAdded,
            (_, Some(around)) if around.entry.list == "volumes" => self.volume(around),
            (_, Some(around)) if shape.contains("nessProbe") && around.probe_hosts_differ() => When::OtherProbeHost,
            (_, Some(_)) if shape.ends_with("ontainers[].env") && has_objects(old, new) => When::AmbiguousNames,
            (_, Some(around)) if shape.contains("ontainers[].resources") => self.resources(path, new, around),
            _ => When::Always,
        }
    }

    fn volume(&self, around: &Around<'_>) -> When {
        let in_part = self.mounted_in_part.contains(&*around.entry.name);
        match (around.old.map(volume_type), around.new.map(volume_type)) {
            (Some(Some(old)), Some(Some(new))) if old == new && SWAPPED_VOLUMES.contains(&new) && !in_part => {
                When::OtherSource
            }
            (Some(Some(only)), None) | (None, Some(Some(only))) if MOVABLE_VOLUMES.contains(&only) => {
                When::VolumeComesOrGoes
            }
            _ => When::Always,
        }
    }

    fn resources(&self, path: &str, new: Option<&Value>, around: &Around<'_>) -> When {
        let resource = RESIZABLE.iter().find(|name| path.ends_with(&format!("[{name}]")));
        let Some(resource) = resource.filter(|_| path.contains(".limits[") || path.contains(".requests[")) else {
            return When::Always;
        };
        if self.qos_class_changes {
            return When::OtherQosClass;
        }
        if new.is_none() {
            return When::AmountGoes;
        }
        if around.new.is_some_and(|container| restarts_on_resize(container, resource)) {
            When::ResizedRestarting
        } else {
            When::ResizedRunning
        }
    }
}

/// Whether a container (JSON, of a template) is re-created when this resource of it changes.
pub(super) fn restarts_on_resize(container: &Value, resource: &str) -> bool {
    let policies = container.get("resizePolicy").and_then(Value::as_array);
    policies.into_iter().flatten().any(|policy| {
        policy.get("resourceName").and_then(Value::as_str) == Some(resource)
            && policy.get("restartPolicy").and_then(Value::as_str) == Some("RestartContainer")
    })
}

/// Whether the place of a difference, or what differs there, names a field that is not known.
fn has_unknown_fields(shape: &str, old: Option<&Value>, new: Option<&Value>) -> bool {
    let shape = shape.replace("spec.initContainers[]", "spec.containers[]");
    let inside =
        |part: &&&str| shape.strip_prefix(**part).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']));
    let Some(part) = CHECKED_PARTS.iter().find(inside) else { return false };
    let mut place = part.rsplit('.').next().unwrap_or_default().trim_end_matches("[]");
    for name in shape[part.len()..].split(['.', '[', ']']).filter(|name| !name.is_empty()) {
        if !is_known(place, name) {
            return true;
        }
        place = name;
    }
    [old, new].into_iter().flatten().any(|value| holds_unknown_fields(place, value))
}

fn is_known(place: &str, name: &str) -> bool {
    KNOWN_FIELDS.iter().any(|(field, inside)| *field == place && inside.contains(&name))
}

fn holds_unknown_fields(place: &str, value: &Value) -> bool {
    match value {
        // Its keys are labels.
        Value::Object(_) if place == "matchLabels" => false,
        Value::Object(map) => map.iter().any(|(key, value)| !is_known(place, key) || holds_unknown_fields(key, value)),
        Value::Array(list) => list.iter().any(|entry| holds_unknown_fields(place, entry)),
        _ => false,
    }
}

fn only_added(old: Option<&Value>, new: Option<&Value>) -> bool {
    let list = |side: Option<&Value>| side.and_then(Value::as_array).cloned().unwrap_or_default();
    let (old, new) = (list(old), list(new));
    old.iter().all(|entry| new.contains(entry))
}

fn volumes_mounted_in_part(template: &Value) -> Vec<String> {
    let containers = |list: &str| template.pointer(list).and_then(Value::as_array).into_iter().flatten();
    let mounts = containers("/spec/containers")
        .chain(containers("/spec/initContainers"))
        .filter_map(|container| container.get("volumeMounts")?.as_array())
        .flatten();
    let in_part = mounts.filter(|mount| mount.get("subPath").is_some() || mount.get("subPathExpr").is_some());
    in_part.filter_map(|mount| Some(mount.get("name")?.as_str()?.to_owned())).collect()
}

/// The one field of a volume beside its name.
fn volume_type(volume: &Value) -> Option<&str> {
    let mut types = volume.as_object()?.keys().filter(|key| *key != "name");
    types.next().filter(|_| types.next().is_none()).map(String::as_str)
}

/// The list was compared as a whole, not by the names of its entries.
fn has_objects(old: Option<&Value>, new: Option<&Value>) -> bool {
    let list = [old, new].into_iter().flatten().filter_map(Value::as_array);
    list.flatten().any(Value::is_object)
}
