//! The volumes of a Pod template for people, as kubectl lays them out.

use serde_json::Value;

use super::describe::{Lines, is_true, list, plain};

/// The lines of the volumes.
pub fn volumes(lines: &mut Lines, volumes: &[Value]) {
    lines.put(0, format!("  Volumes:{}", if volumes.is_empty() { "\t<none>" } else { "" }));
    for volume in volumes {
        lines.put(1, format!(" {}:", plain(volume.get("name"))));
        let source = volume.as_object().into_iter().flatten().find(|(key, value)| *key != "name" && !value.is_null());
        match source {
            Some((kind, source)) => source_lines(lines, kind, source),
            None => lines.put(1, "<unknown>"),
        }
    }
}

fn source_lines(lines: &mut Lines, kind: &str, source: &Value) {
    let mut put = |title: &str, value: String| lines.put(2, format!("{title}:\t{value}"));
    let field = |key: &str| plain(source.get(key));
    match kind {
        "hostPath" => {
            put("Type", "HostPath (bare host directory volume)".into());
            put("Path", field("path"));
            put("HostPathType", field("type"));
        }
        "emptyDir" => {
            put("Type", "EmptyDir (a temporary directory that shares a pod's lifetime)".into());
            put("Medium", field("medium"));
            let limit = field("sizeLimit");
            put("SizeLimit", if limit.is_empty() || limit == "0" { "<unset>".into() } else { limit });
        }
        "secret" => {
            put("Type", "Secret (a volume populated by a Secret)".into());
            put("SecretName", field("secretName"));
            put("Optional", is_true(source, "optional").to_string());
        }
        "configMap" => {
            put("Type", "ConfigMap (a volume populated by a ConfigMap)".into());
            put("Name", field("name"));
            put("Optional", is_true(source, "optional").to_string());
        }
        "nfs" => {
            put("Type", "NFS (an NFS mount that lasts the lifetime of a pod)".into());
            put("Server", field("server"));
            put("Path", field("path"));
            put("ReadOnly", is_true(source, "readOnly").to_string());
        }
        "persistentVolumeClaim" => {
            put("Type", "PersistentVolumeClaim (a reference to a PersistentVolumeClaim in the same namespace)".into());
            put("ClaimName", field("claimName"));
            put("ReadOnly", is_true(source, "readOnly").to_string());
        }
        "image" => {
            put("Type", "Image (a container image or OCI artifact)".into());
            put("Reference", field("reference"));
            put("PullPolicy", field("pullPolicy"));
        }
        "downwardAPI" => downward(lines, source),
        "projected" => projected(lines, source),
        "csi" => csi(lines, source),
        other => unlike_kubectl(lines, other, source),
    }
}

fn downward(lines: &mut Lines, source: &Value) {
    lines.put(2, "Type:\tDownwardAPI (a volume populated by information about the pod)");
    lines.put(2, "Items:");
    for item in list(source, "items") {
        let path = plain(item.get("path"));
        if let Some(field) = item.get("fieldRef") {
            lines.put(3, format!("{} -> {path}", plain(field.get("fieldPath"))));
        }
        if let Some(resource) = item.get("resourceFieldRef") {
            lines.put(3, format!("{} -> {path}", plain(resource.get("resource"))));
        }
    }
}

fn projected(lines: &mut Lines, source: &Value) {
    lines.put(2, "Type:\tProjected (a volume that contains injected data from multiple sources)");
    for one in list(source, "sources") {
        let mut named = |title: &str, given: &Value| {
            lines.put(2, format!("{title}:\t{}", plain(given.get("name"))));
            lines.put(2, format!("Optional:\t{}", is_true(given, "optional")));
        };
        if let Some(secret) = one.get("secret") {
            named("SecretName", secret);
        } else if one.get("downwardAPI").is_some() {
            lines.put(2, "DownwardAPI:\ttrue");
        } else if let Some(config_map) = one.get("configMap") {
            named("ConfigMapName", config_map);
        } else if let Some(token) = one.get("serviceAccountToken") {
            let seconds = token.get("expirationSeconds").and_then(Value::as_i64).unwrap_or(3600);
            lines.put(2, format!("TokenExpirationSeconds:\t{seconds}"));
        }
    }
}

fn csi(lines: &mut Lines, source: &Value) {
    lines.put(2, "Type:\tCSI (a Container Storage Interface (CSI) volume source)");
    lines.put(2, format!("Driver:\t{}", plain(source.get("driver"))));
    lines.put(2, format!("FSType:\t{}", plain(source.get("fsType"))));
    lines.put(2, format!("ReadOnly:\t{}", is_true(source, "readOnly")));
    let attributes = source.get("volumeAttributes").and_then(Value::as_object).cloned().unwrap_or_default();
    // The odd spaces are kubectl's.
    let mut entries = attributes.iter().map(|(key, value)| format!("    {key}={}", plain(Some(value))));
    let first = entries.next().unwrap_or_else(|| "<none>".to_owned());
    lines.put(2, format!("VolumeAttributes:\t{first}"));
    entries.for_each(|entry| lines.put(4, format!("\t{entry}")));
}

/// Types that are rare: their fields as they are written.
fn unlike_kubectl(lines: &mut Lines, kind: &str, source: &Value) {
    lines.put(2, format!("Type:\t{kind}"));
    for (key, value) in source.as_object().into_iter().flatten() {
        lines.put(2, format!("{key}:\t{}", plain(Some(value))));
    }
}
