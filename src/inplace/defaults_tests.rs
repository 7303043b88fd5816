use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::inplace::diff::differences;
use crate::inplace::{samples, template_of_pod};

/// What a user writes, and what an apiserver makes of it as a Pod's template.
fn written_and_stored() -> (Value, Value) {
    let written = json!({
        "metadata": {"creationTimestamp": null, "labels": {"app": "web"}, "annotations": {}},
        "spec": {
            "serviceAccount": "runner",
            "hostNetwork": false,
            "tolerations": [],
            "initContainers": [{"name": "setup", "image": "busybox"}],
            "containers": [{
                "name": "app",
                "image": "registry.example/app:v1",
                "command": null,
                "tty": false,
                "ports": [{"containerPort": 80}],
                "env": [
                    {"name": "EMPTY", "value": ""},
                    {"name": "NODE", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}},
                    {"name": "CPU", "valueFrom": {"resourceFieldRef": {"resource": "limits.cpu"}}},
                ],
                "resources": {"limits": {"cpu": 0.5, "memory": "1Gi"}, "requests": {"cpu": "100m"}},
                "livenessProbe": {"httpGet": {"port": 80}},
                "readinessProbe": {"grpc": {"port": 9}, "periodSeconds": 0},
                "lifecycle": {"preStop": {"httpGet": {"port": "http"}}},
                "volumeMounts": [{"name": "conf", "mountPath": "/conf", "readOnly": false}],
            }],
            "volumes": [
                {"name": "conf", "configMap": {"name": "c"}},
                {"name": "key", "secret": {"secretName": "s"}},
                {"name": "all", "projected": {"sources": [{"serviceAccountToken": {"path": "t"}}]}},
                {"name": "info", "downwardAPI": {"items": [{"path": "l", "fieldRef": {"fieldPath": "metadata.labels"}}]}},
                {"name": "host", "hostPath": {"path": "/x"}},
                {"name": "scratch"},
            ],
        },
    });
    let stored = json!({
        "metadata": {"labels": {"app": "web"}},
        "spec": {
            "serviceAccount": "runner", "serviceAccountName": "runner",
            "dnsPolicy": "ClusterFirst", "restartPolicy": "Always", "schedulerName": "default-scheduler",
            "securityContext": {}, "terminationGracePeriodSeconds": 30, "enableServiceLinks": true,
            "initContainers": [{
                "name": "setup", "image": "busybox", "imagePullPolicy": "Always", "resources": {},
                "terminationMessagePath": "/dev/termination-log", "terminationMessagePolicy": "File",
            }],
            "containers": [{
                "name": "app",
                "image": "registry.example/app:v1",
                "imagePullPolicy": "IfNotPresent",
                "terminationMessagePath": "/dev/termination-log", "terminationMessagePolicy": "File",
                "ports": [{"containerPort": 80, "protocol": "TCP"}],
                "env": [
                    {"name": "EMPTY"},
                    {"name": "NODE", "valueFrom": {"fieldRef": {"apiVersion": "v1", "fieldPath": "spec.nodeName"}}},
                    {"name": "CPU", "valueFrom": {"resourceFieldRef": {"resource": "limits.cpu", "divisor": "0"}}},
                ],
                "resources": {
                    "limits": {"cpu": "500m", "memory": "1Gi"},
                    "requests": {"cpu": "100m", "memory": "1Gi"},
                },
                "livenessProbe": {
                    "httpGet": {"port": 80, "path": "/", "scheme": "HTTP"},
                    "timeoutSeconds": 1, "periodSeconds": 10, "successThreshold": 1, "failureThreshold": 3,
                },
                "readinessProbe": {
                    "grpc": {"port": 9, "service": ""},
                    "timeoutSeconds": 1, "periodSeconds": 10, "successThreshold": 1, "failureThreshold": 3,
                },
                "lifecycle": {"preStop": {"httpGet": {"port": "http", "path": "/", "scheme": "HTTP"}}},
                "volumeMounts": [{"name": "conf", "mountPath": "/conf"}],
            }],
            "volumes": [
                {"name": "conf", "configMap": {"name": "c", "defaultMode": 420}},
                {"name": "key", "secret": {"secretName": "s", "defaultMode": 420}},
                {"name": "all", "projected": {
                    "defaultMode": 420,
                    "sources": [{"serviceAccountToken": {"path": "t", "expirationSeconds": 3600}}],
                }},
                {"name": "info", "downwardAPI": {"defaultMode": 420, "items": [
                    {"path": "l", "fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.labels"}},
                ]}},
                {"name": "host", "hostPath": {"path": "/x", "type": ""}},
                {"name": "scratch", "emptyDir": {}},
            ],
        },
    });
    (written, stored)
}

#[test]
fn what_is_written_means_what_is_stored() {
    let (written, stored) = written_and_stored();
    assert_eq!(differences(&written, &stored), []);
    assert_eq!(differences(&stored, &written), []);
}

/// `testdata`: a template as it was written, and what a kube-apiserver 1.37.2 made of it as the
/// template of a PodTemplate and as a Pod.
#[test]
fn what_a_real_apiserver_stores() {
    let read = |text: &str| -> Value { serde_json::from_str(text).unwrap() };
    let written = read(include_str!("testdata/written.json"));
    let stored = read(include_str!("testdata/stored.json"));
    let pod = read(include_str!("testdata/pod.json"));
    assert_eq!(differences(&written, &stored), []);
    for like in [&written, &stored] {
        assert_eq!(differences(&template_of_pod(&pod, like), like), []);
    }
}

/// Each default by itself: taking one away from what is stored changes nothing, another value does.
#[test]
fn each_default() {
    let (_, stored) = written_and_stored();
    for pointer in [
        "/spec/dnsPolicy",
        "/spec/restartPolicy",
        "/spec/schedulerName",
        "/spec/terminationGracePeriodSeconds",
        "/spec/enableServiceLinks",
        "/spec/serviceAccount",
        "/spec/securityContext",
        "/spec/containers/0/imagePullPolicy",
        "/spec/initContainers/0/imagePullPolicy",
        "/spec/containers/0/terminationMessagePath",
        "/spec/containers/0/ports/0/protocol",
        "/spec/containers/0/resources/requests/memory",
        "/spec/containers/0/livenessProbe/failureThreshold",
        "/spec/containers/0/livenessProbe/httpGet/path",
        "/spec/containers/0/readinessProbe/grpc/service",
        "/spec/containers/0/lifecycle/preStop/httpGet/scheme",
        "/spec/containers/0/env/1/valueFrom/fieldRef/apiVersion",
        "/spec/volumes/0/configMap/defaultMode",
        "/spec/volumes/2/projected/sources/0/serviceAccountToken/expirationSeconds",
        "/spec/volumes/4/hostPath/type",
    ] {
        let (parent, key) = pointer.rsplit_once('/').unwrap();
        let mut without = stored.clone();
        assert!(without.pointer_mut(parent).unwrap().as_object_mut().unwrap().remove(key).is_some(), "{pointer}");
        assert_eq!(differences(&stored, &without), [], "{pointer}");
        let mut other = stored.clone();
        *other.pointer_mut(pointer).unwrap() = json!("other");
        if pointer != "/spec/serviceAccount" {
            assert_ne!(differences(&stored, &other), [], "{pointer}");
        }
    }
}

#[test]
fn host_ports_follow_the_host_network() {
    let on_host =
        json!({"spec": {"hostNetwork": true, "containers": [{"name": "a", "ports": [{"containerPort": 80}]}]}});
    assert_eq!(with_defaults(&on_host).pointer("/spec/containers/0/ports/0/hostPort"), Some(&json!(80)));
}

#[test]
fn what_means_something_stays() {
    for spec in [
        json!({"automountServiceAccountToken": false}),
        json!({"shareProcessNamespace": false}),
        json!({"terminationGracePeriodSeconds": 0}),
        json!({"enableServiceLinks": false}),
        json!({"fieldOfTomorrow": ""}),
        json!({"volumes": [{"name": "a", "emptyDir": {}}]}),
    ] {
        let template = json!({"spec": spec});
        let defaulted = with_defaults(&template);
        for (key, value) in spec.as_object().unwrap() {
            assert_eq!(defaulted["spec"].get(key), Some(value), "{key}");
        }
    }
}

proptest! {
    #![proptest_config(samples::cases(256))]

    #[test]
    fn idempotent_on_templates(template in samples::template()) {
        let once = with_defaults(&template);
        prop_assert_eq!(&with_defaults(&once), &once);
    }

    #[test]
    fn idempotent_and_calm_on_any_json(value in samples::near_template()) {
        let once = with_defaults(&value);
        prop_assert_eq!(&with_defaults(&once), &once);
    }
}
