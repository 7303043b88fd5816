//! cpu and memory of running containers: what is asked for, and whether the kubelet has done it.

use serde_json::{Map, Value};

use super::circumstance::RESIZABLE;
use super::quantity::{quantity_bytes, quantity_millicores};
use crate::model::{Amount, ContainerFacts, PodFacts, Resources};

/// Below these the runtime rounds up, so the status never shows less.
const CPU_LIMIT_LEAST_MILLICORES: i64 = 10;
const CPU_REQUEST_LEAST_MILLICORES: i64 = 2;

/// The amounts in a container's `resources` (JSON, of a spec or a status).
pub fn amounts(resources: &Value) -> Resources {
    let of = |kind: &str, name: &str| resources.get(kind).and_then(|amounts| amounts.get(name));
    let bytes = |value: &Value| quantity_bytes(value).and_then(|bytes| i64::try_from(bytes).ok());
    Resources {
        cpu_limit_millicores: of("limits", "cpu").and_then(quantity_millicores),
        cpu_request_millicores: of("requests", "cpu").and_then(quantity_millicores),
        memory_limit_bytes: of("limits", "memory").and_then(bytes),
        memory_request_bytes: of("requests", "memory").and_then(bytes),
    }
}

/// `resources` as `pods/resize` takes them, from those of a container of a template (defaulted):
/// what is new, and null for what is gone.
pub(super) fn resize_of(old: &Value, new: &Value) -> Map<String, Value> {
    let mut resources = Map::new();
    for kind in ["limits", "requests"] {
        let mut amounts = Map::new();
        for name in RESIZABLE {
            let of = |side: &Value| side.get("resources")?.get(kind)?.get(*name).cloned();
            match (of(old), of(new)) {
                (_, Some(amount)) => drop(amounts.insert((*name).to_owned(), amount)),
                (Some(_), None) => drop(amounts.insert((*name).to_owned(), Value::Null)),
                (None, None) => {}
            }
        }
        if !amounts.is_empty() {
            resources.insert(kind.to_owned(), amounts.into());
        }
    }
    resources
}

/// An amount (millicores or bytes) as a patch has it; null where it is not given.
pub(super) fn quantity_of(amount: Amount, number: Option<i64>) -> Value {
    match (number, amount) {
        (None, _) => Value::Null,
        (Some(millicores), Amount::CpuLimit | Amount::CpuRequest) => format!("{millicores}m").into(),
        (Some(bytes), Amount::MemoryLimit | Amount::MemoryRequest) => bytes.to_string().into(),
    }
}

/// Whether the status shows the resources that the spec asks for.
pub(super) fn is_resized(container: &ContainerFacts) -> bool {
    let wanted = container.resources.as_deref().copied().unwrap_or_default();
    let Some(actual) = container.status_resources.as_deref() else {
        return wanted == Resources::default();
    };
    let same = |wanted: Option<i64>, actual: Option<i64>, least: i64| {
        wanted.is_none_or(|wanted| actual.is_some_and(|actual| actual.max(least) == wanted.max(least)))
    };
    same(wanted.cpu_limit_millicores, actual.cpu_limit_millicores, CPU_LIMIT_LEAST_MILLICORES)
        && same(wanted.cpu_request_millicores, actual.cpu_request_millicores, CPU_REQUEST_LEAST_MILLICORES)
        && same(wanted.memory_limit_bytes, actual.memory_limit_bytes, 0)
        && same(wanted.memory_request_bytes, actual.memory_request_bytes, 0)
}

/// What a container's resize waits for, as users read it.
pub(super) fn waits_for(pod: &PodFacts, container: &str) -> String {
    match &pod.resize {
        Some(resize) if resize.message.is_empty() => format!("container {container}: its resize is {}", resize.reason),
        Some(resize) => format!("container {container}: its resize is {}: {}", resize.reason, resize.message),
        None => format!("container {container}: its status does not show the new resources yet"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn container(spec: &Value, status: Option<&Value>) -> ContainerFacts {
        ContainerFacts {
            resources: Some(Box::new(amounts(spec))),
            status_resources: status.map(|status| Box::new(amounts(status))),
            ..ContainerFacts::default()
        }
    }

    #[test]
    fn a_resize_is_done_when_the_status_shows_it() {
        let spec = json!({"limits": {"cpu": "150m", "memory": "64Mi"}, "requests": {"cpu": "0.1"}});
        assert!(is_resized(&container(
            &spec,
            Some(&json!({"limits": {"cpu": "0.15", "memory": 67108864}, "requests": {"cpu": "100m"}}))
        )));
        for other in [
            json!({"limits": {"cpu": "100m", "memory": "64Mi"}, "requests": {"cpu": "100m"}}),
            json!({"limits": {"cpu": "150m", "memory": "65Mi"}, "requests": {"cpu": "100m"}}),
            json!({"limits": {"cpu": "150m", "memory": "64Mi"}}),
        ] {
            assert!(!is_resized(&container(&spec, Some(&other))), "{other}");
        }
        assert!(!is_resized(&container(&spec, None)));
        assert!(is_resized(&container(&json!({}), None)));
        let tiny = json!({"limits": {"cpu": "1m"}, "requests": {"cpu": "1m"}});
        assert!(is_resized(&container(&tiny, Some(&json!({"limits": {"cpu": "10m"}, "requests": {"cpu": "2m"}})))));
    }

    #[test]
    fn what_is_gone_is_nulled() {
        let old = json!({"resources": {"limits": {"cpu": "1"}, "requests": {"cpu": "1", "nvidia.com/gpu": "1"}}});
        let new = json!({"resources": {"requests": {"cpu": "2", "nvidia.com/gpu": "1"}}});
        assert_eq!(Value::from(resize_of(&old, &new)), json!({"limits": {"cpu": null}, "requests": {"cpu": "2"}}));
    }
}
