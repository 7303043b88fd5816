//! What the definition must refuse and accept, as data: a merge patch of the spec of
//! [`crd::minimal`](super::crd::minimal), and for a refusal what the message must say.

use serde_json::{Value, json};

/// A spec that must be refused, and a part of the message that names the field.
pub struct Refused {
    pub what: &'static str,
    pub spec: Value,
    pub says: &'static str,
}

/// A change that must be refused (`says`) or accepted (`None`).
pub struct Change {
    pub what: &'static str,
    pub before: Value,
    pub change: Value,
    pub says: Option<&'static str>,
}

fn refused(what: &'static str, spec: Value, says: &'static str) -> Refused {
    Refused { what, spec, says }
}

/// A strategy with the `rollingUpdate` given.
fn rolling(rolling: Value) -> Value {
    json!({"updateStrategy": {"type": "RollingUpdate", "rollingUpdate": rolling}})
}

fn in_place(strategy: Value) -> Value {
    rolling(json!({"inPlaceUpdateStrategy": strategy}))
}

fn priority(strategy: Value) -> Value {
    rolling(json!({"unorderedUpdate": {"priorityStrategy": strategy}}))
}

fn expression(key: &str, operator: &str, values: Value) -> Value {
    json!({"selector": {"matchExpressions": [{"key": key, "operator": operator, "values": values}]}})
}

fn container(fields: Value) -> Value {
    let mut container = json!({"name": "app", "image": "app:v1"});
    super::harness::manifest::merge(&mut container, fields);
    json!({"template": {"spec": {"containers": [container]}}})
}

fn cpu(quantity: Value) -> Value {
    container(json!({"resources": {"requests": {"cpu": quantity}}}))
}

fn claim(name: &str) -> Value {
    json!({
        "metadata": {"name": name},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}},
    })
}

/// Specs that must be refused when they are created.
pub fn refused_specs() -> Vec<Refused> {
    [counts(), selectors(), templates(), claims(), strategies(), percents(), priorities(), reserved(), others()]
        .into_iter()
        .flatten()
        .collect()
}

fn counts() -> Vec<Refused> {
    vec![
        refused("a negative count", json!({"replicas": -1}), "spec.replicas"),
        refused("a count as text", json!({"replicas": "3"}), "spec.replicas"),
        refused("half a Pod", json!({"replicas": 1.5}), "spec.replicas"),
        refused("more Pods than int32", json!({"replicas": 2_147_483_648_u64}), "spec.replicas"),
        refused("negative time to be ready", json!({"minReadySeconds": -1}), "spec.minReadySeconds"),
        refused("a limit as text", json!({"revisionHistoryLimit": "ten"}), "spec.revisionHistoryLimit"),
        refused("no deadline", json!({"progressDeadlineSeconds": 0}), "spec.progressDeadlineSeconds"),
        refused("a negative deadline", json!({"progressDeadlineSeconds": -5}), "spec.progressDeadlineSeconds"),
        refused(
            "a deadline that minReadySeconds reaches",
            json!({"progressDeadlineSeconds": 10, "minReadySeconds": 10}),
            "spec.progressDeadlineSeconds: must be greater than minReadySeconds",
        ),
        refused(
            "a deadline that the nearer minReadySeconds reaches",
            json!({"progressDeadlineSeconds": 10, "minReadySeconds": 5,
                   "updateStrategy": {"rollingUpdate": {"minReadySeconds": 30}}}),
            "spec.progressDeadlineSeconds: must be greater than minReadySeconds",
        ),
        refused("a negative start", json!({"ordinals": {"start": -1}}), "spec.ordinals.start"),
        refused("a start as text", json!({"ordinals": {"start": "5"}}), "spec.ordinals.start"),
    ]
}

fn selectors() -> Vec<Refused> {
    let app = ["x", "y"];
    vec![
        refused("no selector", json!({"selector": null}), "spec.selector: Required"),
        refused(
            "a key that no label has",
            expression("old key", "DoesNotExist", json!([])),
            "spec.selector.matchExpressions[0].key",
        ),
        refused(
            "a value that no label has",
            expression("app", "NotIn", json!(["team/old"])),
            "spec.selector.matchExpressions[0].values[0]",
        ),
        refused(
            "a label that deletes each Pod",
            json!({"template": {"metadata": {"labels": {"apps.asts.dev/specified-delete": ""}}}}),
            "spec.template.metadata.labels: must not have apps.asts.dev/specified-delete",
        ),
        refused(
            "a label of helper Pods",
            json!({"template": {"metadata": {"labels": {"apps.asts.dev/pre-pull": "x"}}}}),
            "spec.template.metadata.labels: must not have apps.asts.dev/pre-pull",
        ),
        refused("an empty selector", json!({"selector": {"matchLabels": null}}), "spec.selector: must not be empty"),
        refused("empty matchLabels", json!({"selector": {"matchLabels": {"app": null}}}), "spec.selector: must not be"),
        refused("another value", json!({"selector": {"matchLabels": {"app": "db"}}}), "spec.selector: its matchLabels"),
        refused("another label", json!({"selector": {"matchLabels": {"tier": "x"}}}), "spec.selector: its matchLabels"),
        refused(
            "no labels in the template",
            json!({"template": {"metadata": {"labels": null}}}),
            "spec.selector: its matchLabels",
        ),
        refused(
            "no metadata in the template",
            json!({"template": {"metadata": null}}),
            "spec.selector: its matchLabels",
        ),
        refused("In another value", expression("app", "In", json!(app)), "spec.selector: its matchExpressions"),
        refused("In another label", expression("tier", "In", json!(app)), "spec.selector: its matchExpressions"),
        refused("NotIn its value", expression("app", "NotIn", json!(["web"])), "spec.selector: its matchExpressions"),
        refused("Exists not", expression("tier", "Exists", json!(null)), "spec.selector: its matchExpressions"),
        refused("DoesNotExist", expression("app", "DoesNotExist", json!(null)), "spec.selector: its matchExpressions"),
        refused("an unknown operator", expression("app", "Equals", json!(["web"])), "matchExpressions[0].operator"),
        refused("no operator", expression("app", "", json!(["web"])), "matchExpressions[0].operator"),
        refused("In nothing", expression("app", "In", json!([])), "spec.selector.matchExpressions.values"),
        refused("NotIn nothing", expression("app", "NotIn", json!(null)), "spec.selector.matchExpressions.values"),
        refused("Exists a value", expression("app", "Exists", json!(["web"])), "spec.selector.matchExpressions.values"),
        refused("no key", expression("", "Exists", json!(null)), "matchExpressions[0].key"),
        refused(
            "a long value",
            json!({"selector": {"matchLabels": {"app": "a".repeat(64)}}}),
            "spec.selector.matchLabels.app",
        ),
    ]
}

fn templates() -> Vec<Refused> {
    let restart = |policy: &str| json!({"template": {"spec": {"restartPolicy": policy}}});
    vec![
        refused("no template", json!({"template": null}), "spec.template: Required"),
        refused("no Pod", json!({"template": {"spec": null}}), "spec.template.spec: Required"),
        refused("no containers", json!({"template": {"spec": {"containers": null}}}), "spec.template.spec.containers"),
        refused("empty containers", json!({"template": {"spec": {"containers": []}}}), "spec.template.spec.containers"),
        refused("a container without a name", container(json!({"name": null})), "containers[0].name: Required"),
        refused("an image of numbers", container(json!({"image": 1})), "spec.template.spec.containers[0].image"),
        refused("an environment of numbers", container(json!({"env": [{"name": "A", "value": 1}]})), "env[0].value"),
        refused(
            "an environment that is a map",
            container(json!({"env": {"A": "1"}})),
            "spec.template.spec.containers[0].env",
        ),
        refused("a port as text", container(json!({"ports": [{"containerPort": "80"}]})), "ports[0].containerPort"),
        refused("cpu: true", cpu(json!(true)), "resources.requests.cpu"),
        refused("cpu: text", cpu(json!("lots")), "resources.requests.cpu"),
        refused("cpu: an unknown unit", cpu(json!("5ki")), "resources.requests.cpu"),
        refused("cpu: an empty word", cpu(json!("")), "resources.requests.cpu"),
        refused("cpu: a map", cpu(json!({"a": 1})), "resources.requests.cpu"),
        refused("cpu: an empty map", cpu(json!({})), "resources.requests.cpu"),
        refused("cpu: a list", cpu(json!([1])), "resources.requests.cpu"),
        refused("cpu: an empty list", cpu(json!([])), "resources.requests.cpu"),
        refused("labels of numbers", json!({"template": {"metadata": {"labels": {"a": 1}}}}), "metadata.labels.a"),
        refused("restartPolicy OnFailure", restart("OnFailure"), "spec.template.spec.restartPolicy: must be Always"),
        refused("restartPolicy Never", restart("Never"), "spec.template.spec.restartPolicy: must be Always"),
        refused(
            "a deadline of the Pod",
            json!({"template": {"spec": {"activeDeadlineSeconds": 30}}}),
            "spec.template.spec.activeDeadlineSeconds: must be absent",
        ),
    ]
}

fn claims() -> Vec<Refused> {
    let claims = |templates: Value| json!({"volumeClaimTemplates": templates});
    let name = "volumeClaimTemplates[0].metadata.name";
    vec![
        refused(
            "a claim without metadata",
            claims(json!([{"spec": {}}])),
            "volumeClaimTemplates[0].metadata: Required",
        ),
        refused("a claim without a name", claims(json!([{"metadata": {"labels": {"a": "b"}}}])), name),
        refused("an empty name of a claim", claims(json!([claim("")])), name),
        refused("upper case in a claim's name", claims(json!([claim("Data")])), name),
        refused("a dot in a claim's name", claims(json!([claim("a.b")])), name),
        refused("a dash at a claim's end", claims(json!([claim("data-")])), name),
        refused("a long name of a claim", claims(json!([claim(&"a".repeat(64))])), name),
        refused(
            "the same claim twice",
            claims(json!([claim("data"), claim("logs"), claim("data")])),
            "spec.volumeClaimTemplates: each metadata.name must be there once",
        ),
        refused("claims that are a map", claims(json!({"data": claim("data")})), "spec.volumeClaimTemplates"),
        refused(
            "storage of what is no quantity",
            claims(json!([{"metadata": {"name": "data"}, "spec": {"resources": {"requests": {"storage": "big"}}}}])),
            "volumeClaimTemplates[0].spec.resources.requests.storage",
        ),
        refused(
            "accessModes as text",
            claims(json!([{"metadata": {"name": "data"}, "spec": {"accessModes": "ReadWriteOnce"}}])),
            "volumeClaimTemplates[0].spec.accessModes",
        ),
    ]
}

fn strategies() -> Vec<Refused> {
    let strategy = |strategy: Value| json!({"updateStrategy": strategy});
    let only = "spec.updateStrategy.rollingUpdate: only with the type RollingUpdate";
    vec![
        refused("an unknown policy", json!({"podManagementPolicy": "Sequential"}), "spec.podManagementPolicy"),
        refused("a strategy as text", strategy(json!("RollingUpdate")), "spec.updateStrategy"),
        refused("an unknown strategy", strategy(json!({"type": "Recreate"})), "spec.updateStrategy.type"),
        refused("OnDelete, rolling", strategy(json!({"type": "OnDelete", "rollingUpdate": {}})), only),
        refused("OnDelete, partition", strategy(json!({"type": "OnDelete", "rollingUpdate": {"partition": 1}})), only),
        refused("paused as text", rolling(json!({"paused": "yes"})), "rollingUpdate.paused"),
        refused(
            "an unknown update policy",
            rolling(json!({"podUpdatePolicy": "Recreate"})),
            "rollingUpdate.podUpdatePolicy",
        ),
        refused("negative time to be ready", rolling(json!({"minReadySeconds": -1})), "rollingUpdate.minReadySeconds"),
        refused("a negative grace period", in_place(json!({"gracePeriodSeconds": -1})), "gracePeriodSeconds"),
        refused("a grace period as text", in_place(json!({"gracePeriodSeconds": "5s"})), "gracePeriodSeconds"),
        refused("no timeout", in_place(json!({"timeoutSeconds": 0})), "inPlaceUpdateStrategy.timeoutSeconds"),
        refused("an unknown way for env", in_place(json!({"env": "Files"})), "inPlaceUpdateStrategy.env"),
        refused("prePull as text", in_place(json!({"prePull": "true"})), "inPlaceUpdateStrategy.prePull"),
        refused("an empty pattern", in_place(json!({"restartAnnotations": [""]})), "restartAnnotations[0]"),
        refused("a long pattern", in_place(json!({"restartAnnotations": ["a".repeat(401)]})), "restartAnnotations[0]"),
        refused("one pattern as text", in_place(json!({"restartAnnotations": "a/*"})), "restartAnnotations"),
    ]
}

fn percents() -> Vec<Refused> {
    let mut all = Vec::new();
    let impossible = ["-1", "-1%", "101%", "1000%", "5.5%", "half", "%", "50", "0x1%", " 5%", "5% ", ""];
    let says = "rollingUpdate.partition";
    all.extend(impossible.map(|value| refused("an impossible partition", rolling(json!({"partition": value})), says)));
    for value in [json!(-1), json!(1.5), json!(true), json!([1]), json!(2_147_483_648_u64)] {
        all.push(refused("an impossible partition", rolling(json!({"partition": value})), says));
    }
    for value in impossible.into_iter().chain(["0%", "00%"]) {
        let part = json!({"maxUnavailable": value});
        all.push(refused("an impossible budget", rolling(part.clone()), "rollingUpdate.maxUnavailable"));
        all.push(refused("an impossible limit", json!({"scaleStrategy": part}), "scaleStrategy.maxUnavailable"));
    }
    for value in [json!(0), json!(-1), json!(0.5), json!(true), json!(2_147_483_648_u64)] {
        let part = json!({"maxUnavailable": value});
        all.push(refused("an impossible budget", rolling(part.clone()), "rollingUpdate.maxUnavailable"));
        all.push(refused("an impossible limit", json!({"scaleStrategy": part}), "scaleStrategy.maxUnavailable"));
    }
    all
}

fn priorities() -> Vec<Refused> {
    let all_pods = json!({"matchLabels": {"a": "b"}});
    let weight = |weight: Value, selector: Value| {
        priority(json!({"weightPriority": [{"weight": weight, "matchSelector": selector}]}))
    };
    let selector = "weightPriority[0].matchSelector";
    vec![
        refused(
            "both forms",
            priority(json!({"orderPriority": [{"orderedKey": "a"}],
                            "weightPriority": [{"weight": 1, "matchSelector": all_pods}]})),
            "priorityStrategy: give orderPriority or weightPriority, not both",
        ),
        refused(
            "an empty key",
            priority(json!({"orderPriority": [{"orderedKey": ""}]})),
            "orderPriority[0].orderedKey",
        ),
        refused("no key", priority(json!({"orderPriority": [{}]})), "orderPriority[0].orderedKey"),
        refused("a negative weight", weight(json!(-1), all_pods.clone()), "weightPriority[0].weight"),
        refused("a weight over 100", weight(json!(101), all_pods.clone()), "weightPriority[0].weight"),
        refused("no weight", weight(Value::Null, all_pods), "weightPriority[0].weight"),
        refused("no selector", weight(json!(1), Value::Null), selector),
        refused("an empty selector", weight(json!(1), json!({})), selector),
        refused(
            "an unknown operator",
            weight(json!(1), json!({"matchExpressions": [{"key": "a", "operator": "Is"}]})),
            "matchSelector.matchExpressions[0].operator",
        ),
        refused(
            "In nothing",
            weight(json!(1), json!({"matchExpressions": [{"key": "a", "operator": "In"}]})),
            "matchSelector.matchExpressions.values",
        ),
    ]
}

fn reserved() -> Vec<Refused> {
    let texts = ["-1", "9-5", "5-", "-5", "a-b", "1-2-3", "", "1,2", "1 - 2", "5-5.5", "0x1", "1234567890123456"];
    let numbers = [json!(-1), json!(1.5), json!(true), json!({}), json!(2_147_483_648_u64)];
    let mut all: Vec<_> = texts
        .map(Value::from)
        .into_iter()
        .chain(numbers)
        .map(|entry| refused("a malformed ordinal", json!({"reserveOrdinals": [0, entry]}), "spec.reserveOrdinals[1]"))
        .collect();
    all.push(refused("too many entries", json!({"reserveOrdinals": vec![1; 1001]}), "spec.reserveOrdinals"));
    all.push(refused("one entry as text", json!({"reserveOrdinals": "1-5"}), "spec.reserveOrdinals"));
    all
}

fn others() -> Vec<Refused> {
    let service = |name: Value| json!({"serviceName": name});
    let hook = |hook: Value| json!({"lifecycle": {"preDelete": hook}});
    let claims = |policy: Value| json!({"persistentVolumeClaimRetentionPolicy": policy});
    vec![
        refused("upper case in the Service's name", service(json!("Peers")), "spec.serviceName: must be a DNS label"),
        refused("a dot in the Service's name", service(json!("a.b")), "spec.serviceName: must be a DNS label"),
        refused("a dash before the Service's name", service(json!("-a")), "spec.serviceName: must be a DNS label"),
        refused("a long name of the Service", service(json!("a".repeat(64))), "spec.serviceName"),
        refused("a number for the Service", service(json!(5)), "spec.serviceName"),
        refused("an unknown whenDeleted", claims(json!({"whenDeleted": "Keep"})), "whenDeleted"),
        refused("an unknown whenScaled", claims(json!({"whenScaled": "retain"})), "whenScaled"),
        refused(
            "an unknown way for claims",
            json!({"volumeClaimUpdateStrategy": {"type": "Always"}}),
            "spec.volumeClaimUpdateStrategy.type",
        ),
        refused("labels of numbers", hook(json!({"labelsHandler": {"a": 1}})), "preDelete.labelsHandler.a"),
        refused("one finalizer as text", hook(json!({"finalizersHandler": "a/b"})), "preDelete.finalizersHandler"),
        refused("a flag as text", hook(json!({"markPodNotReady": "yes"})), "preDelete.markPodNotReady"),
    ]
}

/// Specs that must be accepted.
pub fn accepted_specs() -> Vec<(&'static str, Value)> {
    let mut all = vec![
        ("as little as can be", json!({})),
        ("explicit nulls", nulls()),
        ("empty words for the defaults", empty_words()),
        ("no Pods", json!({"replicas": 0})),
        ("very many Pods", json!({"replicas": 2_147_483_647})),
        ("a start", json!({"ordinals": {"start": 2_147_483_647}})),
        ("no start", json!({"ordinals": {}})),
        ("OnDelete", json!({"updateStrategy": {"type": "OnDelete"}})),
        ("a rolling update with nothing in it", rolling(json!({}))),
        ("keep all revisions", json!({"revisionHistoryLimit": -1})),
        ("keep no revisions", json!({"revisionHistoryLimit": 0})),
        ("a long minReadySeconds without a deadline", json!({"minReadySeconds": 3600})),
        ("a deadline over minReadySeconds", json!({"minReadySeconds": 10, "progressDeadlineSeconds": 11})),
        ("an empty priority", priority(json!({}))),
        ("an empty unordered update", rolling(json!({"unorderedUpdate": {}}))),
        (
            "an unordered update in order",
            priority(json!({"orderPriority": [{"orderedKey": "app"}], "weightPriority": []})),
        ),
        (
            "fields ignored",
            in_place(json!({"imagePreDownloadParallelism": "10%", "imagePreDownloadTimeoutSeconds": 60,
                                            "imagePreDownloadMinUpdatedReadyPods": 1})),
        ),
        ("reserved ordinals", json!({"reserveOrdinals": [3, "5", "7-9", "7-7", 2_147_483_647, "10-999999999999999"]})),
        ("no reserved ordinals", json!({"reserveOrdinals": []})),
        ("an empty Service", json!({"serviceName": ""})),
        ("selected by an expression", expression("app", "In", json!(["x", "web"]))),
        ("selected by what is not there", expression("tier", "NotIn", json!(["web"]))),
        ("selected by a label that is not there", expression("tier", "DoesNotExist", json!(null))),
        (
            "a hook",
            json!({"lifecycle": {"preDelete": {"labelsHandler": {"a": "b"}, "finalizersHandler": ["a/b"],
                                                       "markPodNotReady": true}}}),
        ),
        ("restartPolicy Always", json!({"template": {"spec": {"restartPolicy": "Always"}}})),
        (
            "unknown fields of the Pod",
            json!({"template": {"spec": {"newField": {"deep": [1]}}, "metadata": {"new": 1}}}),
        ),
        (
            "the same port twice, by protocol",
            container(json!({"ports": [
            {"containerPort": 53, "protocol": "UDP"}, {"containerPort": 53, "protocol": "TCP"}]})),
        ),
    ];
    for value in [json!(0), json!(5), json!("0%"), json!("1%"), json!("050%"), json!("100%")] {
        all.push(("a partition", rolling(json!({"partition": value}))));
    }
    for value in [json!(1), json!(2_147_483_647), json!("1%"), json!("007%"), json!("100%")] {
        let part = json!({"maxUnavailable": value});
        all.push(("a budget", rolling(part.clone())));
        all.push(("a limit", json!({"scaleStrategy": part})));
    }
    let quantities = ["0.5", "500m", "1", "1Gi", "1e3", "1E-3", "12E", ".5", "5.", "+1", "-1", "0"].map(Value::from);
    for quantity in quantities.into_iter().chain([json!(0.5), json!(2), json!(1e3), json!(0)]) {
        all.push(("a quantity", cpu(quantity)));
    }
    all
}

/// What generators write for values that they do not have.
fn nulls() -> Value {
    json!({
        "replicas": null, "serviceName": null, "volumeClaimTemplates": null, "podManagementPolicy": null,
        "updateStrategy": {"type": null, "rollingUpdate": null}, "minReadySeconds": null, "scaleStrategy": null,
        "reserveOrdinals": null, "ordinals": {"start": null}, "persistentVolumeClaimRetentionPolicy": null,
        "volumeClaimUpdateStrategy": null, "revisionHistoryLimit": null, "progressDeadlineSeconds": null,
        "lifecycle": null,
        "template": {
            "metadata": {"creationTimestamp": null, "annotations": null},
            "spec": {"containers": [{"name": "app", "image": "app:v1", "env": null, "resources": null, "ports": null}]},
        },
    })
}

/// The built-in kinds take an empty word for their default.
fn empty_words() -> Value {
    json!({
        "serviceName": "", "podManagementPolicy": "",
        "updateStrategy": {"type": "", "rollingUpdate": {"podUpdatePolicy": ""}},
        "persistentVolumeClaimRetentionPolicy": {"whenDeleted": "", "whenScaled": ""},
        "volumeClaimUpdateStrategy": {"type": ""},
        "template": {"spec": {"restartPolicy": ""}},
    })
}

/// Changes of a set that is there.
pub fn changes() -> Vec<Change> {
    let change = |what, before, change, says| Change { what, before, change, says };
    let none = || json!({});
    let labels = json!({"template": {"metadata": {"labels": {"app": "web", "tier": "x"}}}});
    let service = Some("spec.serviceName: cannot be added, changed or removed");
    let policy = Some("spec.podManagementPolicy: cannot be changed");
    let selector = Some("spec.selector: cannot be changed");
    let parallel = json!({"podManagementPolicy": "Parallel"});
    let ordered = json!({"podManagementPolicy": "OrderedReady"});
    let absent = json!({"podManagementPolicy": null});
    vec![
        change("add a Service", none(), json!({"serviceName": "a"}), service),
        change("change the Service", json!({"serviceName": "a"}), json!({"serviceName": "b"}), service),
        change("remove the Service", json!({"serviceName": "a"}), json!({"serviceName": null}), service),
        change("empty the Service", json!({"serviceName": "a"}), json!({"serviceName": ""}), service),
        change("an empty Service for none", none(), json!({"serviceName": ""}), None),
        change("another policy", none(), parallel.clone(), policy),
        change("the policy back", parallel.clone(), ordered.clone(), policy),
        change("the policy removed", parallel, absent.clone(), policy),
        change("the default said", none(), ordered.clone(), None),
        change("the default unsaid", ordered, absent, None),
        change("more selected", labels.clone(), json!({"selector": {"matchLabels": {"tier": "x"}}}), selector),
        change(
            "an expression added",
            none(),
            json!({"selector": {"matchExpressions": [{"key": "app", "operator": "Exists"}]}}),
            selector,
        ),
        change(
            "the labels that the selector needs",
            none(),
            json!({"template": {"metadata": {"labels": null}}}),
            Some("spec.selector: its matchLabels"),
        ),
        change("another label", none(), labels, None),
        change("more Pods", none(), json!({"replicas": 5}), None),
        change("the count removed", json!({"replicas": 5}), json!({"replicas": null}), None),
        change("claims added", none(), json!({"volumeClaimTemplates": [claim("data")]}), None),
        change(
            "claims removed",
            json!({"volumeClaimTemplates": [claim("data")]}),
            json!({"volumeClaimTemplates": null}),
            None,
        ),
        change("OnDelete", none(), json!({"updateStrategy": {"type": "OnDelete"}}), None),
        change(
            "OnDelete for a block",
            rolling(json!({"partition": 1})),
            json!({"updateStrategy": {"type": "OnDelete", "rollingUpdate": null}}),
            None,
        ),
        change(
            "OnDelete with the block left",
            rolling(json!({"partition": 1})),
            json!({"updateStrategy": {"type": "OnDelete"}}),
            Some("spec.updateStrategy.rollingUpdate"),
        ),
        change(
            "a longer minReadySeconds",
            json!({"progressDeadlineSeconds": 100}),
            json!({"minReadySeconds": 100}),
            Some("spec.progressDeadlineSeconds"),
        ),
    ]
}
