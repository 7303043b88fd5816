//! The templates that change: a broker, a database with a sidecar and an init container that runs once, a cache.

use serde_json::{Map, Value, json};

use super::mix::Kind;
use super::random::Random;

/// The templates at the beginning.
pub fn applications() -> Vec<Value> {
    let app = |image: &str, resize: Value| {
        json!({
            "name": "app",
            "image": image,
            "args": ["serve", "--level=1"],
            "ports": [{"name": "main", "containerPort": 9092}],
            "env": [
                {"name": "LEVEL", "value": "info"},
                {"name": "LIMIT", "value": "100"},
                {"name": "PEERS", "value": "3"},
                {"name": "HOST_IP", "valueFrom": {"fieldRef": {"fieldPath": "status.hostIP"}}},
                {"name": "ADDRESS", "value": "$(HOST_IP):9092"},
                {"name": "SPARE_1", "value": "x"},
                {"name": "SPARE_2", "value": "x"},
                {"name": "SPARE_3", "value": "x"},
                {"name": "SPARE_4", "value": "x"},
                {"name": "SPARE_5", "value": "x"},
            ],
            "envFrom": [{"configMapRef": {"name": "environment-1"}}],
            "resources": {"requests": {"cpu": "500m", "memory": "1Gi"}, "limits": {"cpu": "1", "memory": "2Gi"}},
            "resizePolicy": resize,
            "livenessProbe": {"tcpSocket": {"port": 9092}, "periodSeconds": 10},
            "readinessProbe": {"tcpSocket": {"port": 9092}, "periodSeconds": 10},
            "startupProbe": {"tcpSocket": {"port": 9092}, "periodSeconds": 10, "failureThreshold": 30},
            "volumeMounts": [
                {"name": "config", "mountPath": "/etc/app"},
                {"name": "secret", "mountPath": "/etc/secret"},
            ],
        })
    };
    let template = |name: &str, containers: Value, init: Value| {
        json!({
            "metadata": {
                "labels": {"app": name},
                "annotations": {"checksum/config": "1", "kubectl.kubernetes.io/restartedAt": "1"},
            },
            "spec": {
                "terminationGracePeriodSeconds": 60,
                "initContainers": init,
                "containers": containers,
                "volumes": [
                    {"name": "config", "configMap": {"name": "config-1"}},
                    {"name": "secret", "secret": {"secretName": "secret-1"}},
                ],
            },
        })
    };
    let no_restart = json!([]);
    let memory_restarts = json!([{"resourceName": "memory", "restartPolicy": "RestartContainer"}]);
    let sidecar = json!({
        "name": "exporter",
        "image": "registry.example.com/tools/exporter:v1",
        "resources": {"requests": {"cpu": "100m", "memory": "128Mi"}},
    });
    let init = json!([{"name": "prepare", "image": "registry.example.com/db/prepare:v1"}]);
    vec![
        template("broker", json!([app("example/broker:v1", no_restart.clone())]), json!([])),
        template("database", json!([app("registry.example.com/db/server:v1", memory_restarts), sidecar]), init),
        template("cache", json!([app("cache:v1", no_restart)]), json!([])),
    ]
}

/// The applications (by their place in the list) that can have such a change.
pub fn able(kind: Kind) -> &'static [usize] {
    match kind {
        Kind::SidecarImage | Kind::InitImage | Kind::MemoryWithRestart => &[1],
        // The init container has no resources: its Pod is never Guaranteed.
        Kind::Memory | Kind::QosClass => &[0, 2],
        _ => &[0, 1, 2],
    }
}

/// The template after a change of this kind. `number`: one that was never used, for new names and values.
pub fn change(template: &Value, kind: Kind, number: usize, random: &mut Random) -> Value {
    let mut new = template.clone();
    let spec = &mut new["spec"];
    match kind {
        Kind::AppImage => set_tag(&mut spec["containers"][0], number),
        Kind::SidecarImage => set_tag(&mut spec["containers"][1], number),
        Kind::AllImages => edit_list(&mut spec["containers"], |all| {
            all.iter_mut().for_each(|container| set_tag(container, number));
        }),
        Kind::EnvValue => set_variables(spec, &[random.below(3)], number),
        Kind::EnvValues => set_variables(spec, &[0, 1], number),
        Kind::EnvValueAndImage => {
            set_variables(spec, &[random.below(3)], number);
            set_tag(&mut spec["containers"][0], number);
        }
        Kind::EnvAdded => {
            add(&mut spec["containers"][0]["env"], json!({"name": format!("NEW_{number}"), "value": "x"}))
        }
        Kind::EnvRemoved => edit_list(&mut spec["containers"][0]["env"], |env| drop(env.pop())),
        Kind::EnvReferring => {
            spec["containers"][0]["env"][4]["value"] = format!("$(HOST_IP):{}", 1024 + number).into();
        }
        Kind::EnvFrom => {
            spec["containers"][0]["envFrom"] = json!([{"configMapRef": {"name": format!("environment-{number}")}}]);
        }
        Kind::Checksum => new["metadata"]["annotations"]["checksum/config"] = number.to_string().into(),
        Kind::ChecksumAndImage => {
            set_tag(&mut spec["containers"][0], number);
            new["metadata"]["annotations"]["checksum/config"] = number.to_string().into();
        }
        Kind::RestartedAt => {
            new["metadata"]["annotations"]["kubectl.kubernetes.io/restartedAt"] = number.to_string().into();
        }
        Kind::ConfigMapName => spec["volumes"][0]["configMap"]["name"] = format!("config-{number}").into(),
        Kind::SecretName => spec["volumes"][1]["secret"]["secretName"] = format!("secret-{number}").into(),
        Kind::VolumeAdded => {
            let name = format!("more-{number}");
            add(&mut spec["volumes"], json!({"name": name, "configMap": {"name": name}}));
            let mount = json!({"name": name, "mountPath": format!("/etc/{name}")});
            add(&mut spec["containers"][0]["volumeMounts"], mount);
        }
        Kind::ProbeTimes => {
            for probe in ["livenessProbe", "readinessProbe"] {
                spec["containers"][0][probe]["periodSeconds"] = (10 + number).into();
            }
        }
        Kind::StartupProbe => spec["containers"][0]["startupProbe"]["periodSeconds"] = (10 + number).into(),
        Kind::Cpu => set_limit(spec, "cpu", format!("{}m", 1000 + number)),
        Kind::Memory | Kind::MemoryWithRestart => set_limit(spec, "memory", format!("{}Mi", 2048 + number)),
        Kind::QosClass => change_qos(&mut spec["containers"]),
        Kind::Command => spec["containers"][0]["args"][1] = format!("--level={number}").into(),
        Kind::Ports => spec["containers"][0]["ports"][0]["containerPort"] = (10_000 + number).into(),
        Kind::ContainerAddedOrRemoved => edit_list(&mut spec["containers"], |containers| {
            let helper = containers.iter().position(|container| container["name"] == "helper");
            match helper {
                Some(index) => drop(containers.remove(index)),
                None => containers.push(json!({"name": "helper", "image": "helper:v1"})),
            }
        }),
        Kind::GracePeriod => spec["terminationGracePeriodSeconds"] = (60 + number).into(),
        Kind::Affinity => spec["nodeSelector"] = json!({"pool": number.to_string()}),
        Kind::SecurityContext => spec["securityContext"] = json!({"runAsUser": 1000 + number}),
        Kind::InitImage => set_tag(&mut spec["initContainers"][0], number),
        Kind::Toleration => {
            let toleration = json!({"key": format!("pool-{number}"), "operator": "Exists"});
            add(&mut spec["tolerations"], toleration);
        }
    }
    new
}

/// Changes a list, which is made where it is missing.
fn edit_list(value: &mut Value, edit: impl FnOnce(&mut Vec<Value>)) {
    let mut list = value.as_array().cloned().unwrap_or_default();
    edit(&mut list);
    *value = list.into();
}

fn add(value: &mut Value, entry: Value) {
    edit_list(value, |list| list.push(entry));
}

fn set_tag(container: &mut Value, number: usize) {
    let image = container["image"].as_str().unwrap_or_default();
    let name = image.rsplit_once(':').map_or(image, |(name, _)| name);
    container["image"] = format!("{name}:v{number}").into();
}

fn set_variables(spec: &mut Value, which: &[usize], number: usize) {
    for index in which {
        spec["containers"][0]["env"][*index]["value"] = format!("value-{number}").into();
    }
}

fn set_limit(spec: &mut Value, resource: &str, amount: String) {
    let resources = &mut spec["containers"][0]["resources"];
    // A Pod whose requests are its limits is Guaranteed, and stays so.
    if resources["limits"] == resources["requests"] {
        resources["requests"][resource] = amount.clone().into();
    }
    resources["limits"][resource] = amount.into();
}

/// From Burstable to Guaranteed and back.
fn change_qos(containers: &mut Value) {
    let is_guaranteed = |container: &Value| {
        let resources = &container["resources"];
        resources["limits"].is_object() && resources["limits"] == resources["requests"]
    };
    edit_list(containers, |containers| {
        let guaranteed = containers.iter().all(is_guaranteed);
        for container in containers {
            let resources = &mut container["resources"];
            let limits = match &resources["limits"] {
                Value::Object(limits) => limits.clone(),
                _ => Map::from_iter([("cpu".to_owned(), "1".into()), ("memory".to_owned(), "1Gi".into())]),
            };
            resources["requests"] =
                if guaranteed { json!({"cpu": "100m", "memory": "128Mi"}) } else { limits.clone().into() };
            resources["limits"] = limits.into();
        }
    });
}
