use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::api::AdvancedStatefulSetSpec;
use crate::model::ValidSpec;

const NATIVE: &str = include_str!("../../../e2e/fixtures/native-every-field.yaml");
const KRUISE: &str = include_str!("../../../e2e/fixtures/openkruise-every-field.yaml");

fn set(version: &str, spec: Value) -> Value {
    let mut object = json!({
        "apiVersion": version, "kind": "StatefulSet", "metadata": {"name": "web"},
        "spec": {
            "selector": {"matchLabels": {"app": "web"}},
            "template": {
                "metadata": {"labels": {"app": "web"}},
                "spec": {"containers": [{"name": "app", "image": "app:v1"}]},
            },
        },
    });
    if let (Some(target), Some(more)) = (object["spec"].as_object_mut(), spec.as_object()) {
        target.extend(more.clone());
    }
    object
}

fn native(spec: Value) -> Value {
    set("apps/v1", spec)
}

fn kruise(spec: Value) -> Value {
    set("apps.kruise.io/v1beta1", spec)
}

fn one(object: Value) -> Outcome {
    convert(vec![Manifest { place: "f".into(), object }], None)
}

fn spec_of(object: Value) -> Value {
    let outcome = one(object);
    assert_eq!(outcome.errors, Vec::<String>::new());
    outcome.objects[0]["spec"].clone()
}

#[track_caller]
fn refused(object: Value, field: &str) {
    let outcome = one(object);
    assert!(outcome.objects.is_empty(), "{outcome:?}");
    assert!(outcome.errors.iter().any(|error| error.contains(&format!(": {field}: "))), "{field}: {outcome:?}");
}

#[track_caller]
fn noted(object: Value, field: &str) -> Value {
    let outcome = one(object);
    assert_eq!(outcome.errors, Vec::<String>::new());
    assert!(outcome.notes.iter().any(|note| note.contains(&format!(": {field}: "))), "{field}: {outcome:?}");
    outcome.objects[0].clone()
}

#[test]
fn every_field_of_a_native_set_is_kept() {
    let before = manifest::parse("f", NATIVE).unwrap().remove(0).object;
    let outcome = one(before.clone());
    assert_eq!(outcome.errors, Vec::<String>::new());
    let after = &outcome.objects[0];
    assert_eq!(
        (&after["apiVersion"], &after["kind"]),
        (&json!("apps.asts.dev/v1beta1"), &json!("AdvancedStatefulSet"))
    );
    assert_eq!((after.get("status"), after["metadata"].get("creationTimestamp")), (None, None));
    let mut wanted = crate::model::canonical::without_nulls(&before["spec"]);
    wanted["updateStrategy"]["rollingUpdate"]["podUpdatePolicy"] = json!("ReCreate");
    assert_eq!(after["spec"], wanted);
    assert_eq!(outcome.notes.len(), 1, "{:?}", outcome.notes);
    assert!(outcome.notes[0].contains("spec.updateStrategy.rollingUpdate.podUpdatePolicy"));
}

#[test]
fn every_field_of_a_kruise_set_is_kept_but_for_what_nobody_obeys() {
    let before = manifest::parse("f", KRUISE).unwrap().remove(0).object;
    let outcome = one(before.clone());
    assert_eq!(outcome.errors, Vec::<String>::new());
    let mut wanted = crate::model::canonical::without_nulls(&before["spec"]);
    let in_place = wanted.pointer_mut("/updateStrategy/rollingUpdate/inPlaceUpdateStrategy").unwrap();
    *in_place = json!({"gracePeriodSeconds": 10});
    assert_eq!(outcome.objects[0]["spec"], wanted);
}

#[test]
fn pods_are_updated_as_before() {
    let policy = |object: Value| spec_of(object).pointer("/updateStrategy/rollingUpdate/podUpdatePolicy").cloned();
    assert_eq!(policy(native(json!({}))), Some(json!("ReCreate")));
    assert_eq!(policy(native(json!({"updateStrategy": {"rollingUpdate": null}}))), Some(json!("ReCreate")));
    assert_eq!(policy(native(json!({"updateStrategy": {"type": "OnDelete"}}))), None);
    assert_eq!(policy(kruise(json!({}))), Some(json!("ReCreate")));
    let in_place = json!({"updateStrategy": {"rollingUpdate": {"podUpdatePolicy": "InPlaceOnly"}}});
    assert_eq!(policy(kruise(in_place)), Some(json!("InPlaceOnly")));
}

#[test]
fn the_policy_may_be_chosen() {
    let manifest = Manifest { place: "f".into(), object: native(json!({})) };
    let outcome = convert(vec![manifest], Some(PodUpdatePolicy::InPlaceIfPossible));
    let policy = outcome.objects[0].pointer("/spec/updateStrategy/rollingUpdate/podUpdatePolicy");
    assert_eq!(policy, Some(&json!("InPlaceIfPossible")));
}

#[test]
fn what_has_no_counterpart_is_refused_by_name() {
    for (object, field) in [
        (native(json!({"updateStrategy": {"type": "Recreate"}})), "spec.updateStrategy.type"),
        (native(json!({"updateStrategy": {"type": "Sideways"}})), "spec.updateStrategy.type"),
        (native(json!({"updateStrategy": {"canary": 1}})), "spec.updateStrategy.canary"),
        (
            native(json!({"updateStrategy": {"rollingUpdate": {"paused": true}}})),
            "spec.updateStrategy.rollingUpdate.paused",
        ),
        (native(json!({"reserveOrdinals": [1]})), "spec.reserveOrdinals"),
        (native(json!({"newInNextYear": 1})), "spec.newInNextYear"),
        (native(json!({"replicas": -1})), "spec.replicas"),
        (native(json!({"replicas": "three"})), "spec"),
        (kruise(json!({"ordinals": {"start": -1}})), "spec.ordinals.start"),
        (kruise(json!({"minReadySeconds": 3})), "spec.minReadySeconds"),
        (set("apps/v1beta1", json!({})), "apiVersion"),
        (set("apps.kruise.io/v2", json!({})), "apiVersion"),
        (json!({"apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": {"name": "web"}}), "spec"),
    ] {
        refused(object, field);
    }
}

#[test]
fn an_error_is_told_with_its_place() {
    let place = |number: usize| format!("f, document {number}");
    let bad = Manifest { place: place(2), object: native(json!({"updateStrategy": {"type": "Recreate"}})) };
    let outcome = convert(vec![Manifest { place: place(1), object: native(json!({})) }, bad], None);
    assert!(outcome.errors[0].starts_with("f, document 2: StatefulSet web: spec.updateStrategy.type: "), "{outcome:?}");
}

#[test]
fn more_than_all_is_all() {
    let object = kruise(json!({
        "updateStrategy": {"rollingUpdate": {"maxUnavailable": "150%"}}, "scaleStrategy": {"maxUnavailable": "200%"},
    }));
    let done = noted(object, "spec.updateStrategy.rollingUpdate.maxUnavailable");
    assert_eq!(done.pointer("/spec/updateStrategy/rollingUpdate/maxUnavailable"), Some(&json!("100%")));
    assert_eq!(done.pointer("/spec/scaleStrategy/maxUnavailable"), Some(&json!("100%")));
}

#[test]
fn what_the_server_writes_is_left_out() {
    let mut object = native(json!({}));
    object["metadata"] = json!({
        "name": "web", "namespace": "shop", "uid": "u", "resourceVersion": "1", "generation": 3,
        "creationTimestamp": "2026-01-01T00:00:00Z", "managedFields": [{}],
        "annotations": {"kubectl.kubernetes.io/last-applied-configuration": "{}"},
        "finalizers": ["orphan"], "labels": {"a": "b"},
    });
    object["status"] = json!({"replicas": 3});
    let outcome = one(object);
    let wanted = json!({"name": "web", "namespace": "shop", "labels": {"a": "b"}});
    assert_eq!((&outcome.objects[0]["metadata"], outcome.objects[0].get("status")), (&wanted, None));
}

#[test]
fn an_owner_is_kept_and_named() {
    let mut object = native(json!({}));
    let owners = json!([{"apiVersion": "db/v1", "kind": "Postgres", "name": "main", "uid": "u", "controller": true}]);
    object["metadata"]["ownerReferences"] = owners.clone();
    let done = noted(object, "metadata.ownerReferences");
    assert_eq!(done["metadata"]["ownerReferences"], owners);
}

#[test]
fn hook_names_of_kruise_become_ours_wherever_they_stand() {
    let state = "lifecycle.apps.kruise.io/state";
    let mut object = kruise(json!({
        "lifecycle": {
            "preDelete": {"labelsHandler": {"lifecycle.apps.kruise.io/hold": "true", "mine": "x"}},
            "inPlaceUpdate": {"finalizersHandler": ["lifecycle.apps.kruise.io/drain", "mine/f"]},
            "preNormal": {"labelsHandler": {"mine": "x"}, "markPodNotReady": true},
        },
    }));
    object["spec"]["template"]["metadata"]["labels"] = json!({"app": "web", "lifecycle.apps.kruise.io/hold": "true"});
    object["spec"]["template"]["spec"]["containers"][0]["env"] =
        json!([{"name": "STATE", "valueFrom": {"fieldRef": {"fieldPath": format!("metadata.labels['{state}']")}}}]);
    let done = noted(object, "spec.lifecycle.preDelete.labelsHandler[lifecycle.apps.kruise.io/hold]");
    assert_eq!(
        done["spec"]["lifecycle"],
        json!({
            "preDelete": {"labelsHandler": {"lifecycle.apps.asts.dev/hold": "true", "mine": "x"}},
            "inPlaceUpdate": {"finalizersHandler": ["lifecycle.apps.asts.dev/drain", "mine/f"]},
            "preNormal": {"labelsHandler": {"mine": "x"}},
        })
    );
    assert_eq!(
        done["spec"]["template"]["metadata"]["labels"],
        json!({"app": "web", "lifecycle.apps.asts.dev/hold": "true"})
    );
    let path = done.pointer("/spec/template/spec/containers/0/env/0/valueFrom/fieldRef/fieldPath");
    assert_eq!(path, Some(&json!("metadata.labels['lifecycle.apps.asts.dev/state']")));
}

#[test]
fn gates_that_only_kruise_opens_are_left_out() {
    let mut object = kruise(json!({}));
    let gates = |names: &[&str]| -> Value { names.iter().map(|name| json!({"conditionType": name})).collect() };
    object["spec"]["template"]["spec"]["readinessGates"] = gates(&["KruisePodReady", "InPlaceUpdateReady", "mine"]);
    let done = noted(object.clone(), "spec.template.spec.readinessGates");
    assert_eq!(done.pointer("/spec/template/spec/readinessGates"), Some(&gates(&["InPlaceUpdateReady", "mine"])));
    object["spec"]["template"]["spec"]["readinessGates"] = gates(&["KruisePodReady"]);
    assert_eq!(spec_of(object).pointer("/template/spec/readinessGates"), None);
}

#[test]
fn marks_of_kruise_are_told() {
    let mut object = kruise(json!({}));
    object["metadata"]["annotations"] = json!({"apps.kruise.io/image-predownload-parallelism": "3"});
    object["metadata"]["labels"] = json!({"policy.kruise.io/delete-protection": "Always"});
    object["spec"]["template"]["metadata"]["annotations"] =
        json!({"apps.kruise.io/container-launch-priority": "Ordered"});
    let done = noted(object.clone(), "metadata.annotations[apps.kruise.io/image-predownload-parallelism]");
    assert_eq!(done["metadata"].get("annotations"), None);
    noted(object.clone(), "metadata.labels[policy.kruise.io/delete-protection]");
    noted(object, "spec.template.metadata.annotations[apps.kruise.io/container-launch-priority]");
    let priorities =
        json!({"rollingUpdate": {"unorderedUpdate": {"priorityStrategy": {"orderPriority": [{"orderedKey": "a"}]}}}});
    noted(
        kruise(json!({"updateStrategy": priorities})),
        "spec.updateStrategy.rollingUpdate.unorderedUpdate.priorityStrategy.orderPriority",
    );
}

#[test]
fn the_older_version_of_kruise_has_fewer_fields() {
    let object = set(
        "apps.kruise.io/v1alpha1",
        json!({"reserveOrdinals": [1], "updateStrategy": {"rollingUpdate": {"minReadySeconds": 5, "partition": 2}}}),
    );
    let done = noted(object, "spec.reserveOrdinals");
    assert_eq!(done["spec"].get("reserveOrdinals"), None);
    let rolling = &done["spec"]["updateStrategy"]["rollingUpdate"];
    assert_eq!(rolling, &json!({"minReadySeconds": 5, "partition": 2, "podUpdatePolicy": "ReCreate"}));
}

fn scaler(namespace: Option<&str>, name: &str) -> Value {
    json!({
        "apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": "scaler", "namespace": namespace},
        "spec": {"scaleTargetRef": {"apiVersion": "apps/v1", "kind": "StatefulSet", "name": name}, "maxReplicas": 9},
    })
}

#[test]
fn scalers_of_converted_sets_follow() {
    let service = json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web"}, "spec": {"x": 1}});
    let vertical = json!({
        "apiVersion": "autoscaling.k8s.io/v1", "kind": "VerticalPodAutoscaler", "metadata": {"name": "v"},
        "spec": {"targetRef": {"apiVersion": "apps/v1", "kind": "StatefulSet", "name": "web"}},
    });
    let objects = [scaler(Some("shop"), "web"), service.clone(), vertical, native(json!({})), scaler(None, "other")];
    let manifests = objects.into_iter().map(|object| Manifest { place: "f".into(), object }).collect();
    let outcome = convert(manifests, None);
    let ours = json!({"apiVersion": "apps.asts.dev/v1beta1", "kind": "AdvancedStatefulSet", "name": "web"});
    assert_eq!(outcome.objects[0]["spec"]["scaleTargetRef"], ours);
    assert_eq!(outcome.objects[1], service);
    assert_eq!(outcome.objects[2]["spec"]["targetRef"], ours);
    assert_eq!(outcome.objects[4], scaler(None, "other"));
    assert!(outcome.notes.iter().any(|note| note.contains("not among the manifests")), "{:?}", outcome.notes);
}

#[test]
fn a_scaler_in_another_namespace_is_left_alone() {
    let mut web = native(json!({}));
    web["metadata"]["namespace"] = json!("shop");
    let manifests = [web, scaler(Some("lab"), "web")].map(|object| Manifest { place: "f".into(), object }).to_vec();
    assert_eq!(convert(manifests, None).objects[1], scaler(Some("lab"), "web"));
}

#[test]
fn many_objects_are_printed_so_that_kubectl_reads_them_again() {
    let objects =
        [native(json!({})), json!({"kind": "ConfigMap", "data": {"a": "yes", "b": "0644", "c": "x\n\n  y\n"}})];
    let yaml = printed(&objects, Language::Yaml).unwrap();
    let read: Vec<Value> = manifest::parse("f", &yaml).unwrap().into_iter().map(|it| it.object).collect();
    assert_eq!(read, objects);
    let list: Value = serde_json::from_str(&printed(&objects, Language::Json).unwrap()).unwrap();
    assert_eq!((&list["kind"], &list["items"]), (&json!("List"), &json!(objects)));
    assert_eq!(serde_json::from_str::<Value>(&printed(&objects[..1], Language::Json).unwrap()).unwrap(), objects[0]);
}

/// Some of the fields of a spec, with some of their values.
fn any_of(fields: Vec<(&'static str, Vec<Value>)>) -> impl Strategy<Value = Value> {
    let each: Vec<_> = fields
        .into_iter()
        .map(|(key, values)| proptest::option::of(proptest::sample::select(values)).prop_map(move |value| (key, value)))
        .collect();
    each.prop_map(|pairs| {
        pairs
            .into_iter()
            .filter_map(|(key, value)| Some((key.to_owned(), value?)))
            .collect::<serde_json::Map<_, _>>()
            .into()
    })
}

fn any_rolling(kruises: bool) -> BoxedStrategy<Value> {
    let mut fields = vec![
        ("partition", vec![json!(0), json!(2)]),
        ("maxUnavailable", vec![json!(1), json!("10%"), json!("100%"), Value::Null]),
    ];
    if kruises {
        fields.extend([
            ("maxUnavailable", vec![json!("101%"), json!(3)]),
            ("minReadySeconds", vec![json!(0), json!(9)]),
            ("paused", vec![json!(true), json!(false)]),
            ("podUpdatePolicy", vec![json!(""), json!("ReCreate"), json!("InPlaceOnly"), json!("InPlaceIfPossible")]),
            (
                "inPlaceUpdateStrategy",
                vec![json!({}), json!({"gracePeriodSeconds": 3, "imagePreDownloadParallelism": 1})],
            ),
            ("unorderedUpdate", vec![json!({"priorityStrategy": {"orderPriority": [{"orderedKey": "a"}]}})]),
        ]);
    }
    any_of(fields).boxed()
}

fn any_spec(kruises: bool) -> impl Strategy<Value = Value> {
    let retention = json!({"whenDeleted": "Delete"});
    let mut fields = vec![
        ("replicas", vec![json!(0), json!(5), Value::Null]),
        ("serviceName", vec![json!(""), json!("web")]),
        ("podManagementPolicy", vec![json!("Parallel"), json!("OrderedReady")]),
        ("revisionHistoryLimit", vec![json!(3)]),
        ("volumeClaimTemplates", vec![json!([]), json!([{"metadata": {"name": "data"}, "spec": {}}])]),
        ("persistentVolumeClaimRetentionPolicy", vec![retention]),
        ("ordinals", vec![json!({"start": 4}), json!({})]),
    ];
    if kruises {
        fields.extend([
            ("reserveOrdinals", vec![json!([1, "3-4"])]),
            ("scaleStrategy", vec![json!({"maxUnavailable": "300%"}), json!({})]),
            ("volumeClaimUpdateStrategy", vec![json!({"type": "OnPodRollingUpdate"})]),
            ("lifecycle", vec![json!({"preDelete": {"labelsHandler": {"lifecycle.apps.kruise.io/a": "b"}}})]),
        ]);
    } else {
        fields.push(("minReadySeconds", vec![json!(0), json!(30)]));
    }
    let strategy = prop_oneof![
        Just(None),
        Just(Some(json!({"type": "OnDelete"}))),
        any_rolling(kruises).prop_map(|rolling| Some(json!({"type": "RollingUpdate", "rollingUpdate": rolling}))),
        any_rolling(kruises).prop_map(|rolling| Some(json!({"rollingUpdate": rolling}))),
    ];
    (any_of(fields), strategy).prop_map(|(mut spec, strategy)| {
        if let Some(strategy) = strategy {
            spec["updateStrategy"] = strategy;
        }
        spec
    })
}

proptest! {
    #[test]
    fn what_is_converted_is_accepted_and_stays_as_it_is(
        (version, spec) in prop_oneof![
            any_spec(false).prop_map(|spec| ("apps/v1", spec)),
            any_spec(true).prop_map(|spec| ("apps.kruise.io/v1beta1", spec)),
        ]
    ) {
        let outcome = one(set(version, spec));
        prop_assert_eq!(&outcome.errors, &Vec::<String>::new());
        let object = outcome.objects[0].clone();
        let typed: AdvancedStatefulSetSpec = serde_json::from_value(object["spec"].clone()).unwrap();
        let valid = ValidSpec::parse(&typed).unwrap();
        let on_delete = typed.update_strategy.as_ref().and_then(|it| it.type_) == Some(crate::api::spec::UpdateStrategyType::OnDelete);
        prop_assert_eq!(valid.on_delete, on_delete);
        let again = one(object.clone());
        prop_assert_eq!(again, Outcome { objects: vec![object], ..Outcome::default() });
    }
}
