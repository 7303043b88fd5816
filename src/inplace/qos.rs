//! The QoS class that Kubernetes gives a Pod of a template: fixed for the Pod's life.

use serde_json::{Value, json};

use super::quantity::same_quantity;

/// `Guaranteed`, `Burstable` or `BestEffort`, going by the containers of a template (defaulted).
pub fn qos_class(template: &Value) -> &'static str {
    let of = |list: &str| template.pointer(list).and_then(Value::as_array).into_iter().flatten();
    let containers: Vec<&Value> = of("/spec/containers").chain(of("/spec/initContainers")).collect();
    let amount = |container: &Value, kind: &str, name: &str| -> Option<Value> {
        let amount = container.get("resources")?.get(kind)?.get(name)?;
        (!same_quantity(amount, &json!(0))).then(|| amount.clone())
    };
    let any = containers.iter().any(|container| {
        ["limits", "requests"]
            .iter()
            .any(|kind| ["cpu", "memory"].iter().any(|name| amount(container, kind, name).is_some()))
    });
    if !any {
        return "BestEffort";
    }
    let all_equal = containers.iter().all(|container| {
        ["cpu", "memory"].iter().all(|name| {
            match (amount(container, "limits", name), amount(container, "requests", name)) {
                (Some(limit), Some(request)) => same_quantity(&limit, &request),
                _ => false,
            }
        })
    });
    if all_equal { "Guaranteed" } else { "Burstable" }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn class(resources: Value) -> &'static str {
        qos_class(&json!({"spec": {"containers": [{"name": "app", "resources": resources}]}}))
    }

    #[test]
    fn the_three_classes() {
        assert_eq!(class(json!({})), "BestEffort");
        assert_eq!(class(json!({"limits": {"nvidia.com/gpu": 1}})), "BestEffort");
        assert_eq!(class(json!({"requests": {"cpu": "0"}})), "BestEffort");
        assert_eq!(class(json!({"requests": {"cpu": "100m"}})), "Burstable");
        let both = json!({"cpu": "1", "memory": "1Gi"});
        assert_eq!(class(json!({"requests": {"cpu": "1000m", "memory": "1Gi"}, "limits": both})), "Guaranteed");
        assert_eq!(class(json!({"requests": {"cpu": "1", "memory": "2Gi"}, "limits": both})), "Burstable");
    }

    #[test]
    fn one_container_without_limits_is_enough() {
        let both = json!({"cpu": "1", "memory": "1Gi"});
        let guaranteed = json!({"name": "app", "resources": {"requests": both, "limits": both}});
        let template = json!({"spec": {"containers": [guaranteed], "initContainers": [{"name": "proxy"}]}});
        assert_eq!(qos_class(&template), "Burstable");
    }
}
