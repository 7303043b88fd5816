//! Random requests of the kinds that controllers, kubelets and users make.

use serde_json::{Value, json};

use crate::api::names;
use crate::sim::random::Random;
use crate::sim::store::Kind;

/// What a precondition says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Which {
    Absent,
    Right,
    Wrong,
}

#[derive(Clone, Debug)]
pub enum Deed {
    Create(Value),
    Get,
    Delete {
        grace_seconds: Option<i64>,
    },
    Patch(Value),
    /// A dry run.
    TryPatch(Value),
    /// A dry run of a PodTemplate that is made.
    TryTemplate(Value),
    PatchStatus(Value),
    /// The whole object as it is, with these values at these places.
    Put(Vec<(&'static str, Value)>),
    PutStatus(Value),
}

/// One request. `$owner` in its body stands for the UID of the set [`OWNER`].
#[derive(Clone, Debug)]
pub struct Ask {
    pub kind: Kind,
    pub name: &'static str,
    pub deed: Deed,
    pub uid: Which,
    pub version: Which,
}

impl std::fmt::Display for Ask {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (verb, body) = match &self.deed {
            Deed::Create(body) => ("create", body.to_string()),
            Deed::Get => ("get", String::new()),
            Deed::Delete { grace_seconds } => ("delete", format!("grace {grace_seconds:?}")),
            Deed::Patch(body) => ("patch", body.to_string()),
            Deed::TryPatch(body) => ("try to patch", body.to_string()),
            Deed::TryTemplate(body) => ("try to make a PodTemplate beside", body.to_string()),
            Deed::Put(values) => ("put", format!("{values:?}")),
            Deed::PatchStatus(body) => ("patch the status of", body.to_string()),
            Deed::PutStatus(body) => ("put the status of", body.to_string()),
        };
        write!(formatter, "{verb} {:?} {} {body} uid {:?} version {:?}", self.kind, self.name, self.uid, self.version)
    }
}

/// The object with these values, each where there is a place for it; null takes away what is there.
pub fn with_values(mut object: Value, values: &[(&'static str, Value)]) -> Value {
    for (pointer, value) in values {
        let Some((place, field)) = pointer.rsplit_once('/') else { continue };
        match object.pointer_mut(place).and_then(Value::as_object_mut) {
            Some(fields) if value.is_null() => drop(fields.remove(field)),
            Some(fields) => drop(fields.insert(field.to_owned(), value.clone())),
            None => {}
        }
    }
    object
}

/// The set that owns what has an owner; nobody deletes it.
pub const OWNER: &str = "owner";
const PODS: [&str; 2] = ["web-0", "web-1"];
const CLAIMS: [&str; 2] = ["data-web-0", "data-web-1"];
const REVISIONS: [&str; 2] = ["web-one", "web-two"];
const SETS: [&str; 2] = [OWNER, "other"];
const HOLD: &str = "asts.dev/hold";
/// Where no kubelet is.
const NODE: &str = "nowhere";

pub fn of(random: &mut Random, count: usize) -> Vec<Ask> {
    let ask = |kind, name, deed| Ask { kind, name, deed, uid: Which::Absent, version: Which::Absent };
    let mut script = vec![
        ask(Kind::Set, OWNER, Deed::Create(set(random))),
        ask(Kind::Pod, PODS[0], Deed::Create(pod(random))),
        ask(Kind::Claim, CLAIMS[0], Deed::Create(claim(random))),
        ask(Kind::Revision, REVISIONS[0], Deed::Create(revision(random))),
    ];
    while script.len() < count {
        script.push(any(random));
    }
    script
}

fn any(random: &mut Random) -> Ask {
    let kind = random.pick(&[Kind::Pod, Kind::Pod, Kind::Pod, Kind::Pod, Kind::Claim, Kind::Revision, Kind::Set]);
    let names = match kind {
        Kind::Pod => PODS,
        Kind::Claim => CLAIMS,
        Kind::Revision => REVISIONS,
        _ => SETS,
    };
    let name = random.pick(&names);
    let deed = match kind {
        Kind::Pod => pod_deed(random),
        Kind::Claim => claim_deed(random),
        Kind::Revision => revision_deed(random),
        _ => set_deed(random, name),
    };
    let (uid, version) = match deed {
        Deed::Create(_) | Deed::Get | Deed::TryTemplate(_) => (Which::Absent, Which::Absent),
        // A custom resource is not replaced without a version.
        Deed::Put(_) => (which(random), random.pick(&[Which::Right, Which::Right, Which::Right, Which::Wrong])),
        Deed::PutStatus(_) => (Which::Absent, random.pick(&[Which::Right, Which::Right, Which::Wrong])),
        _ => (which(random), which(random)),
    };
    Ask { kind, name, deed, uid, version }
}

fn which(random: &mut Random) -> Which {
    random.pick(&[Which::Right, Which::Right, Which::Right, Which::Absent, Which::Absent, Which::Wrong])
}

fn owner(controller: bool) -> Value {
    json!({
        "apiVersion": names::API_VERSION, "kind": names::KIND, "name": "$prefix-owner", "uid": "$owner",
        "controller": controller, "blockOwnerDeletion": true,
    })
}

fn metadata(random: &mut Random) -> Value {
    let mut metadata = json!({"labels": {"app": "web"}});
    if random.below(3) == 0 {
        metadata["annotations"] = json!({"note": "one"});
    }
    if random.below(4) == 0 {
        metadata["finalizers"] = json!([HOLD]);
    }
    if random.below(2) == 0 {
        metadata["ownerReferences"] = json!([owner(true)]);
    }
    metadata
}

fn image(random: &mut Random) -> &'static str {
    random.pick(&["app:v1", "app:v2", "docker.io/library/app:v2"])
}

fn pod(random: &mut Random) -> Value {
    let mut containers = vec![json!({"name": "app", "image": image(random), "env": [{"name": "MODE", "value": "0"}]})];
    if random.below(3) == 0 {
        containers.push(json!({"name": "side", "image": image(random)}));
    }
    let mut spec = json!({"containers": containers, "schedulerName": "nobody"});
    if random.below(3) > 0 {
        spec["nodeName"] = NODE.into();
    }
    if random.below(2) == 0 {
        spec["terminationGracePeriodSeconds"] = random.pick(&[0, 1, 60]).into();
    }
    if random.below(2) == 0 {
        spec["readinessGates"] = json!([{"conditionType": names::READINESS_GATE}]);
    }
    json!({"metadata": metadata(random), "spec": spec})
}

fn claim(random: &mut Random) -> Value {
    json!({
        "metadata": metadata(random),
        "spec": {"accessModes": ["ReadWriteOnce"], "storageClassName": "", "resources": {"requests": {"storage": "1Mi"}}},
    })
}

fn revision(random: &mut Random) -> Value {
    let data = json!({"spec": {"template": {"spec": {"containers": [{"name": "app", "image": image(random)}]}}}});
    json!({"metadata": metadata(random), "revision": random.range(1, 3), "data": data})
}

fn template(random: &mut Random) -> Value {
    json!({
        "metadata": {"labels": {"app": "web"}},
        "spec": {"containers": [{"name": "app", "image": image(random)}]},
    })
}

fn set(random: &mut Random) -> Value {
    let mut metadata = metadata(random);
    drop(metadata.as_object_mut().map(|fields| fields.remove("ownerReferences")));
    let selector = json!({"matchLabels": {"app": "web"}});
    json!({
        "metadata": metadata,
        "spec": {"replicas": random.range(0, 3), "selector": selector, "template": template(random)},
    })
}

/// A change of metadata, as controllers and users make them; some are refused.
fn metadata_patch(random: &mut Random) -> Value {
    let changed = match random.below(12) {
        0 => json!({"labels": {"tier": random.pick(&["gold", "iron"])}}),
        1 => json!({"labels": {"tier": null, "app": "web"}}),
        2 => json!({"labels": {"tier": "x".repeat(64)}}),
        3 => json!({"labels": {"not a key": "gold"}}),
        4 => json!({"annotations": {"note": random.pick(&["one", "two"])}}),
        5 => json!({"annotations": null}),
        6 => json!({"ownerReferences": [owner(true)]}),
        7 => json!({"ownerReferences": [{"$patch": "delete", "uid": "$owner"}]}),
        8 => json!({"finalizers": null}),
        9 => json!({"finalizers": [HOLD]}),
        10 => json!({"finalizers": ["asts.dev/other"]}),
        _ => json!({"labels": {"app": "web"}}),
    };
    json!({"metadata": changed})
}

/// For custom resources, which take merge patches alone.
fn plain_metadata_patch(random: &mut Random) -> Value {
    loop {
        let patch = metadata_patch(random);
        if patch.pointer("/metadata/ownerReferences").is_none() {
            return patch;
        }
    }
}

fn pod_patch(random: &mut Random) -> Value {
    let containers = |containers: Value| json!({"spec": {"containers": containers}});
    match random.below(12) {
        0..=2 => containers(json!([{"name": "app", "image": image(random)}])),
        3 => {
            let mut patch =
                containers(json!([{"name": "app", "image": image(random)}, {"name": "side", "image": image(random)}]));
            patch["spec"]["$setElementOrder/containers"] = json!([{"name": "app"}, {"name": "side"}]);
            patch
        }
        4 => containers(json!([{"name": "third", "image": "app:v1"}])),
        5 => containers(json!([{"name": "app", "env": [{"name": "MODE", "value": random.pick(&["0", "1"])}]}])),
        6 => json!({"spec": {"nodeName": random.pick(&[NODE, "elsewhere"])}}),
        7 => json!({"spec": {"terminationGracePeriodSeconds": 5}}),
        8 => json!({"spec": {"containers": [{"name": "app", "image": ""}]}}),
        9 => json!({}),
        // The status is not written this way.
        10 => json!({"metadata": {"labels": {"tier": "gold"}}, "status": {"phase": "Failed"}}),
        _ => {
            json!({"metadata": {"labels": {"tier": "gold"}}, "spec": {"containers": [{"name": "app", "image": image(random)}]}})
        }
    }
}

fn pod_status(random: &mut Random) -> Value {
    let condition = |random: &mut Random, type_: &str| {
        let status = random.pick(&["True", "False"]);
        json!({"type": type_, "status": status, "reason": random.pick(&["One", "Two"])})
    };
    match random.below(8) {
        0..=1 => json!({"status": {"conditions": [condition(random, "Ready")]}}),
        2 => json!({"status": {"conditions": [condition(random, names::READINESS_GATE), condition(random, "Ready")]}}),
        3 => json!({"status": {"conditions": [{"$patch": "delete", "type": "Ready"}]}}),
        4 => json!({"status": {"phase": random.pick(&["Running", "Failed", "Succeeded"])}}),
        5 => json!({"metadata": {"annotations": {"note": "with status"}}, "status": {"phase": "Running"}}),
        // The spec and the owner are not written this way.
        6 => json!({"spec": {"containers": [{"name": "app", "image": "app:v9"}]}}),
        _ => json!({"metadata": {"ownerReferences": [owner(true)]}}),
    }
}

fn delete(random: &mut Random) -> Deed {
    Deed::Delete { grace_seconds: random.pick(&[None, None, None, Some(0), Some(1), Some(100)]) }
}

/// Values that a client puts into an object that it has read.
fn put(random: &mut Random, kind: Kind) -> Deed {
    let number = random.below(6);
    let beside = match (kind, random.below(4)) {
        (Kind::Pod, 0) => ("/spec/containers/0/image", image(random).into()),
        (Kind::Pod, 1) => ("/spec/terminationGracePeriodSeconds", 5.into()),
        (Kind::Pod, 2) => ("/status/phase", "Failed".into()),
        (Kind::Claim, 0) => ("/spec/accessModes", json!(["ReadWriteMany"])),
        (Kind::Claim, 1) => ("/status/phase", "Bound".into()),
        (Kind::Revision, 0) => ("/revision", number.into()),
        (Kind::Revision, 1) => ("/data", json!({"spec": null})),
        (Kind::Set, 0) => ("/spec/replicas", number.into()),
        (Kind::Set, 1) => ("/spec/template/spec/containers/0/image", image(random).into()),
        (Kind::Set, 2) => ("/status", json!({"replicas": 7})),
        _ => ("/metadata/annotations", json!({"note": "put"})),
    };
    let metadata = match random.below(8) {
        0 => ("/metadata/labels", json!({"app": "web", "tier": "gold"})),
        1 => ("/metadata/labels", Value::Null),
        2 => ("/metadata/labels", json!({"tier": "x".repeat(64)})),
        3 => ("/metadata/finalizers", Value::Null),
        4 => ("/metadata/finalizers", json!([HOLD])),
        5 => ("/metadata/annotations", Value::Null),
        _ => return Deed::Put(vec![beside]),
    };
    Deed::Put(vec![metadata, beside])
}

fn one_of(random: &mut Random, values: &[Value]) -> Value {
    values[random.below(values.len())].clone()
}

/// A template with more than Pods have here, whose defaults a dry run tells.
fn rich_template(random: &mut Random) -> Value {
    let mut template = template(random);
    let probes = [
        json!({"httpGet": {"port": 80}}),
        json!({"exec": {"command": ["true"]}, "periodSeconds": 1}),
        json!({"tcpSocket": {"port": "web"}}),
        json!({"grpc": {"port": 9}}),
    ];
    let sources = [
        json!({"configMap": {"name": "one"}}),
        json!({"secret": {"secretName": "one"}}),
        json!({"emptyDir": {}}),
        json!({"hostPath": {"path": "/one"}}),
        json!({"projected": {"sources": [{"downwardAPI": {"items": [
            {"path": "name", "fieldRef": {"fieldPath": "metadata.name"}}]}}]}}),
    ];
    let container = &mut template["spec"]["containers"][0];
    container["ports"] = json!([{"name": "web", "containerPort": 80}]);
    container["readinessProbe"] = one_of(random, &probes);
    let mut volume = one_of(random, &sources);
    volume["name"] = "one".into();
    template["spec"]["volumes"] = json!([volume]);
    template
}

fn pod_deed(random: &mut Random) -> Deed {
    match random.below(20) {
        0..=3 => Deed::Create(pod(random)),
        4 => Deed::Get,
        5..=6 => delete(random),
        7..=9 => Deed::Patch(pod_patch(random)),
        10..=12 => Deed::Patch(metadata_patch(random)),
        13 => Deed::TryPatch(pod_patch(random)),
        14 => Deed::TryPatch(metadata_patch(random)),
        15 => Deed::TryTemplate(rich_template(random)),
        16 => put(random, Kind::Pod),
        _ => Deed::PatchStatus(pod_status(random)),
    }
}

fn claim_deed(random: &mut Random) -> Deed {
    match random.below(10) {
        0..=1 => Deed::Create(claim(random)),
        2 => Deed::Get,
        3 => Deed::Patch(json!({"spec": {"accessModes": ["ReadWriteMany"]}})),
        4 => delete(random),
        5 => put(random, Kind::Claim),
        6 => Deed::TryPatch(metadata_patch(random)),
        _ => Deed::Patch(metadata_patch(random)),
    }
}

fn revision_deed(random: &mut Random) -> Deed {
    match random.below(10) {
        0..=1 => Deed::Create(revision(random)),
        9 => put(random, Kind::Revision),
        2 => Deed::Get,
        3 => Deed::Patch(json!({"revision": random.range(0, 5)})),
        4 => Deed::Patch(json!({"data": {"spec": null}})),
        5..=6 => delete(random),
        _ => Deed::Patch(metadata_patch(random)),
    }
}

fn set_deed(random: &mut Random, name: &str) -> Deed {
    match random.below(12) {
        0..=1 => Deed::Create(set(random)),
        10 => put(random, Kind::Set),
        11 => Deed::TryPatch(json!({"spec": {"replicas": random.range(0, 3)}})),
        2 if name != OWNER => delete(random),
        3 => Deed::Patch(json!({"spec": {"replicas": random.range(0, 3)}})),
        4 => Deed::Patch(json!({"spec": {"template": template(random)}})),
        // Neither is the status of a set written with its spec.
        5 => Deed::Patch(json!({"spec": {"replicas": 2}, "status": {"replicas": 7}})),
        6..=7 => Deed::PutStatus(json!({"replicas": random.range(0, 3), "observedGeneration": random.range(1, 3)})),
        8 => Deed::Get,
        _ => Deed::Patch(plain_metadata_patch(random)),
    }
}
