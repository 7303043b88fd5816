//! What is looked at before a release is begun.

use k8s_openapi::api::core::v1::Pod;
use kube::api::DynamicObject;
use serde_json::Value;

use super::steps::{Loss, Work};
use crate::api::names;
use crate::cli::error::CliError;
use crate::cli::migrate::access::Right;
use crate::cli::migrate::claims;
use crate::cli::migrate::facts::{self, counted, some_of, uid};
use crate::cli::migrate::findings::Findings;
use crate::cli::migrate::kinds::{NATIVE, OURS};
use crate::cli::migrate::moving::{Pods, outdated};
use crate::cli::migrate::preflight::{self, Verdict};
use crate::cli::migrate::record::Adoption;
use crate::cli::migrate::retention;
use crate::cli::migrate::surroundings;

const RIGHTS: [Right; 9] = [
    Right::to("create", "apps", "statefulsets"),
    Right::to("get", "apps", "statefulsets"),
    Right::to("patch", "apps", "statefulsets"),
    Right::to("update", "apps", "statefulsets"),
    Right::to("list", "", "pods"),
    Right::to("patch", "", "pods"),
    Right::to("list", "apps", "controllerrevisions"),
    Right::to("create", "apps", "controllerrevisions"),
    Right::to("delete", "apps", "controllerrevisions"),
];

/// Longest name of a native set that can have Pods: their label holds it, a dash and a hash of ten letters.
const NATIVE_NAME_BYTES_MAX: usize = names::LABEL_VALUE_BYTES_MAX - 11;

/// Looks at everything, and changes nothing. `taker`: the StatefulSet, where an earlier call has made it.
pub async fn look(work: &Work, old: &DynamicObject, taker: Option<&DynamicObject>) -> Result<Findings, CliError> {
    let session = &work.moving.session;
    let under_way = "an adoption to this set is under way: call adopt again to end it first";
    let (mut findings, verdict) = preflight::begin::<Adoption>(&work.moving, old, &RIGHTS, under_way).await?;
    if verdict == Verdict::Ends {
        return Ok(findings);
    }
    let old = &work.moving.observed(old).await?;
    if work.moving.name.len() > NATIVE_NAME_BYTES_MAX {
        findings.refuse(format!(
            "metadata.name: a native StatefulSet labels its Pods with its name and a hash, for which {NATIVE_NAME_BYTES_MAX} \
             letters may be in the name; this one has {}",
            work.moving.name.len()
        ));
    }
    if let Some(owner) = facts::controller(&old.metadata) {
        findings.doubt(format!(
            "{} {} ({}) controls this set, and makes it again when it is gone",
            owner.kind, owner.name, owner.api_version
        ));
    }
    let pods = facts::pods(session, old).await?;
    match moves(old, taker, &pods) {
        Some(why) => findings.refuse(why),
        None => findings.fine(format!("{} there, all on the newest revision", counted(pods.len(), "Pod"))),
    }
    let unready = pods.values().filter(|pod| !facts::is_ready(pod)).count();
    match waits_for_ready(old, &pods) {
        Some(why) => findings.refuse(why),
        None if unready > 0 => findings.note(format!("{} not Ready", counted(unready, "Pod"))),
        None => {}
    }
    acceptance(work, old, taker, &mut findings).await?;
    let uids: Vec<&str> = [Some(old), taker].into_iter().flatten().map(|set| uid(&set.metadata)).collect();
    claims::look(&work.moving, old, &pods, &uids, &mut findings).await?;
    preflight::retained(old, &work.moving.old_shown(), &mut findings);
    surroundings::look(session, old, (OURS, NATIVE), &mut findings).await?;
    Ok(findings)
}

/// Whether the apiserver takes the native set, and what is lost by it.
async fn acceptance(
    work: &Work,
    old: &DynamicObject,
    taker: Option<&DynamicObject>,
    findings: &mut Findings,
) -> Result<(), CliError> {
    let shape = match work.shaped(old) {
        Ok(shape) => shape,
        Err(error) => {
            findings.refuse(error.to_string());
            return Ok(());
        }
    };
    for remark in &shape.lost {
        match work.loss {
            Loss::Refused => findings.refuse(format!("{remark}; --drop-fields leaves it out")),
            Loss::Accepted => findings.note(format!("{remark}: left out")),
        }
    }
    shape.left.iter().for_each(|remark| findings.note(remark.to_string()));
    if taker.is_none() {
        let (object, _) = work.made_of(old, shape)?;
        preflight::accepted(&work.moving, &object, findings).await?;
    }
    findings.note("Pods are re-created by every change of the template from then on");
    Ok(())
}

/// What keeps the set from being handed over as it is: something moves, or is about to. A Pod that was made anew for the
/// StatefulSet meanwhile is where it is to be, where it is of the present template.
pub fn moves(set: &DynamicObject, taker: Option<&DynamicObject>, pods: &Pods) -> Option<String> {
    if !facts::is_observed(set) {
        return Some("the manager has not seen the set's present spec yet".to_owned());
    }
    let replicas = facts::integer(set, "/spec/replicas").unwrap_or(1);
    let start = facts::integer(set, "/spec/ordinals/start").unwrap_or(0);
    if !pods.keys().copied().eq(start..start.saturating_add(replicas)) {
        let found = some_of(pods.values().map(facts::name));
        let last = start.saturating_add(replicas).saturating_sub(1);
        return Some(format!("a native set of this size has the ordinals {start} to {last}; the Pods are {found}"));
    }
    let taker_uid = taker.map(|taker| uid(&taker.metadata));
    let is_taken = |pod: &&Pod| taker_uid.is_some_and(|uid| facts::is_controlled_by(&pod.metadata, uid));
    let (taken, own): (Vec<&Pod>, Vec<&Pod>) = pods.values().partition(is_taken);
    let named = |pods: &[&Pod], is: &dyn Fn(&Pod) -> bool| -> Option<String> {
        let found: Vec<&str> = pods.iter().filter(|pod| is(pod)).map(|pod| facts::name(pod)).collect();
        (!found.is_empty()).then(|| some_of(found))
    };
    let is_going = |pod: &Pod| facts::is_terminating(&pod.metadata);
    if let Some(going) = named(&own, &is_going).or_else(|| named(&taken, &is_going)) {
        return Some(format!("being deleted: {going}"));
    }
    if let Some(foreign) = named(&own, &|pod| !facts::is_controlled_by(&pod.metadata, uid(&set.metadata))) {
        return Some(format!("not this set's, though they have its labels and name: {foreign}"));
    }
    let others = outdated(own.iter().copied(), revision(set));
    if !others.is_empty() {
        return Some(format!("a rollout is under way; not on the newest revision: {}", some_of(others)));
    }
    let newest = taker.and_then(|taker| facts::text(taker, "/status/updateRevision"));
    let old_ones = outdated(taken.iter().copied(), newest);
    if !old_ones.is_empty() {
        let told =
            "made anew for the StatefulSet from an earlier template; delete them, so that they are made once more";
        return Some(format!("{told}: {}", some_of(old_ones)));
    }
    if let Some(closed) = named(&own, &is_gate_closed) {
        return Some(format!("being updated in place: {closed}"));
    }
    let disrupted = set.data.pointer("/status/disrupted").and_then(Value::as_array);
    disrupted.filter(|list| !list.is_empty()).map(|list| format!("{} not known to be back", counted(list.len(), "Pod")))
}

/// Why the StatefulSet would never take all claims: in order, it goes no further than to the first Pod that is not Ready.
pub fn waits_for_ready(set: &DynamicObject, pods: &Pods) -> Option<String> {
    let is_ordered = facts::text(set, "/spec/podManagementPolicy") != Some("Parallel");
    let has_claims = set.data.pointer("/spec/volumeClaimTemplates").and_then(Value::as_array);
    let takes_claims =
        retention::deletes_claims(&retention::as_users(set)) && has_claims.is_some_and(|all| !all.is_empty());
    let unready: Vec<&str> = pods.values().filter(|pod| !facts::is_ready(pod)).map(facts::name).collect();
    (is_ordered && takes_claims && !unready.is_empty()).then(|| {
        format!(
            "not Ready: {}. With OrderedReady a StatefulSet takes no claims behind such a Pod, which whenDeleted: Delete asks \
             for: mend them first, or set whenDeleted to Retain",
            some_of(unready)
        )
    })
}

/// The label of Pods on the newest revision.
pub fn revision(set: &DynamicObject) -> Option<&str> {
    facts::text(set, "/status/updateRevision")?.rsplit_once('-').map(|(_, hash)| hash)
}

/// A native set has nobody who would open it.
fn is_gate_closed(pod: &Pod) -> bool {
    let gates = pod.spec.as_ref().and_then(|spec| spec.readiness_gates.as_ref());
    let has_gate = gates.into_iter().flatten().any(|gate| gate.condition_type == names::READINESS_GATE);
    let conditions = pod.status.as_ref().and_then(|status| status.conditions.as_ref());
    let is_open =
        conditions.into_iter().flatten().any(|one| one.type_ == names::READINESS_GATE && one.status == "True");
    has_gate && !is_open
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn set() -> Value {
        json!({
            "metadata": {"name": "web", "uid": "ours", "generation": 2},
            "spec": {"replicas": 2},
            "status": {"observedGeneration": 2, "updateRevision": "web-b"},
        })
    }

    fn pod(ordinal: i64) -> Value {
        json!({
            "metadata": {
                "name": format!("web-{ordinal}"), "labels": {"controller-revision-hash": "b"},
                "ownerReferences": [{"apiVersion": "a", "kind": "b", "name": "web", "uid": "ours", "controller": true}],
            },
            "spec": {"containers": [], "readinessGates": [{"conditionType": "InPlaceUpdateReady"}]},
            "status": {"conditions": [{"type": "InPlaceUpdateReady", "status": "True"}]},
        })
    }

    fn told(set: Value, pods: Vec<Value>) -> Option<String> {
        told_with(None, set, pods)
    }

    fn told_with(taker: Option<Value>, set: Value, pods: Vec<Value>) -> Option<String> {
        let taker: Option<DynamicObject> = taker.map(|taker| serde_json::from_value(taker).unwrap());
        let set: DynamicObject = serde_json::from_value(set).unwrap();
        let pods: Vec<Pod> = pods.into_iter().map(|pod| serde_json::from_value(pod).unwrap()).collect();
        moves(
            &set,
            taker.as_ref(),
            &pods.into_iter().filter_map(|pod| Some((facts::ordinal(&pod, "web")?, pod))).collect(),
        )
    }

    fn changed(mut object: Value, pointer: &str, value: Value) -> Value {
        let (parent, key) = pointer.rsplit_once('/').unwrap();
        object.pointer_mut(parent).unwrap()[key] = value;
        object
    }

    #[test]
    fn what_stands_still_may_go() {
        assert_eq!(told(set(), vec![pod(0), pod(1)]), None);
    }

    #[test]
    fn what_moves_is_named() {
        let time = json!("2026-01-01T00:00:00Z");
        let entry = json!([{"ordinal": 1}]);
        for (set, second, why) in [
            (changed(set(), "/metadata/generation", json!(3)), pod(1), "not seen"),
            (set(), pod(2), "the ordinals 0 to 1; the Pods are web-0, web-2"),
            (set(), changed(pod(1), "/metadata/deletionTimestamp", time), "being deleted: web-1"),
            (set(), changed(pod(1), "/metadata/ownerReferences", json!([])), "not this set's"),
            (set(), changed(pod(1), "/metadata/labels", json!({"controller-revision-hash": "a"})), "not on the newest"),
            (set(), changed(pod(1), "/status/conditions", json!([])), "being updated in place: web-1"),
            (changed(set(), "/status/disrupted", entry), pod(1), "not known to be back"),
        ] {
            let found = told(set, vec![pod(0), second]);
            assert!(found.as_ref().is_some_and(|found| found.contains(why)), "{why}: {found:?}");
        }
    }

    #[test]
    fn claims_that_a_native_set_would_never_take_are_refused() {
        let spec = json!({
            "replicas": 1, "volumeClaimTemplates": [{"metadata": {"name": "data"}}],
            "persistentVolumeClaimRetentionPolicy": {"whenDeleted": "Delete"},
        });
        let ready = json!([{"type": "Ready", "status": "True"}]);
        let waits = |spec: &Value, conditions: &Value| {
            let set: DynamicObject = serde_json::from_value(changed(set(), "/spec", spec.clone())).unwrap();
            let pod = changed(pod(0), "/status/conditions", conditions.clone());
            waits_for_ready(&set, &Pods::from([(0, serde_json::from_value(pod).unwrap())]))
        };
        assert!(waits(&spec, &json!([])).is_some_and(|why| why.contains("not Ready: web-0")));
        assert_eq!(waits(&spec, &ready), None);
        assert_eq!(waits(&changed(spec.clone(), "/podManagementPolicy", json!("Parallel")), &json!([])), None);
        assert_eq!(waits(&changed(spec, "/volumeClaimTemplates", json!([])), &json!([])), None);
    }

    #[test]
    fn a_pod_made_anew_for_the_native_set_is_no_stranger() {
        let taker = json!({"metadata": {"name": "web", "uid": "native"}, "status": {"updateRevision": "web-n"}});
        let owner = json!([{"apiVersion": "a", "kind": "b", "name": "web", "uid": "native", "controller": true}]);
        let made = changed(pod(1), "/metadata/ownerReferences", owner);
        let made = changed(changed(made, "/spec", json!({"containers": []})), "/status", json!({}));
        let labelled =
            |label: &str| changed(made.clone(), "/metadata/labels", json!({"controller-revision-hash": label}));
        assert_eq!(told_with(Some(taker.clone()), set(), vec![pod(0), labelled("web-n")]), None);
        let old = told_with(Some(taker), set(), vec![pod(0), labelled("web-m")]).unwrap();
        assert!(old.contains("from an earlier template") && old.ends_with(": web-1"), "{old}");
        assert!(told(set(), vec![pod(0), labelled("web-n")]).unwrap().contains("not this set's"));
    }
}
