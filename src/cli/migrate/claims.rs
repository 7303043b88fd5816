//! The claims of a set: which they are, and whether they can go along.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod};
use kube::Api;
use kube::api::{DynamicObject, ListParams};
use serde_json::Value;

use super::facts::{self, counted, some_of};
use super::findings::{Findings, Weight};
use super::moving::{Moving, Pods};
use crate::api::names;
use crate::cli::connect::Session;
use crate::cli::error::CliError;
use crate::model::Ordinal;

/// The claims of the Pods that are there.
pub async fn of_pods(moving: &Moving, set: &DynamicObject) -> Result<Vec<PersistentVolumeClaim>, CliError> {
    of_those(moving, set, |_| true).await
}

/// Those of the Pods that belong to the set.
pub async fn of_own_pods(moving: &Moving, set: &DynamicObject) -> Result<Vec<PersistentVolumeClaim>, CliError> {
    of_those(moving, set, |pod| facts::is_controlled_by(&pod.metadata, facts::uid(&set.metadata))).await
}

async fn of_those(
    moving: &Moving,
    set: &DynamicObject,
    counts: impl Fn(&Pod) -> bool,
) -> Result<Vec<PersistentVolumeClaim>, CliError> {
    if templates(set).is_empty() {
        return Ok(Vec::new());
    }
    let pods = facts::pods(&moving.session, set).await?;
    let ordinals = pods.iter().filter(|(_, pod)| counts(pod)).map(|(ordinal, _)| *ordinal).collect();
    let mut found = listed(&moving.session).await?;
    Ok(wanted(set, &moving.name, &ordinals).iter().filter_map(|name| found.remove(name)).collect())
}

/// Whether a set of this name takes the claim as one that goes with it: neither does with one that is being deleted, was
/// made for another set, or has another controller.
pub fn may_be_owned(claim: &PersistentVolumeClaim, set_name: &str) -> bool {
    !facts::is_terminating(&claim.metadata)
        && made_for_another(claim, set_name).is_none()
        && facts::controller(&claim.metadata).is_none()
}

/// The other set that the claim was made for.
fn made_for_another<'a>(claim: &'a PersistentVolumeClaim, set_name: &str) -> Option<&'a str> {
    let made_for = claim.metadata.annotations.as_ref()?.get(names::CLAIM_SET_ANNOTATION)?;
    (made_for != set_name).then_some(made_for)
}

pub fn is_owned_by(claim: &PersistentVolumeClaim, uid: &str) -> bool {
    claim.metadata.owner_references.iter().flatten().any(|owner| owner.uid == uid)
}

/// Adds what there is to be said of the claims of every ordinal. `uids`: of the sets that give and take.
pub async fn look(
    moving: &Moving,
    set: &DynamicObject,
    pods: &Pods,
    uids: &[&str],
    findings: &mut Findings,
) -> Result<(), CliError> {
    if !templates(set).is_empty() {
        let wanted = wanted(set, &moving.name, &ordinals(set, pods));
        judge(&wanted, &listed(&moving.session).await?, (&moving.name, uids), findings);
    }
    Ok(())
}

async fn listed(session: &Session) -> Result<BTreeMap<String, PersistentVolumeClaim>, CliError> {
    let api: Api<PersistentVolumeClaim> = Api::namespaced(session.client.clone(), &session.namespace);
    let claims = api.list(&ListParams::default()).await?.items;
    Ok(claims.into_iter().filter_map(|claim| Some((claim.metadata.name.clone()?, claim))).collect())
}

fn templates(set: &DynamicObject) -> Vec<&str> {
    let templates = set.data.pointer("/spec/volumeClaimTemplates").and_then(Value::as_array);
    templates.into_iter().flatten().filter_map(|one| one.pointer("/metadata/name")?.as_str()).collect()
}

fn wanted(set: &DynamicObject, set_name: &str, ordinals: &BTreeSet<Ordinal>) -> Vec<String> {
    let of_template = |template| ordinals.iter().map(move |ordinal| format!("{template}-{set_name}-{ordinal}"));
    templates(set).into_iter().flat_map(of_template).collect()
}

/// Those that have a Pod, and those that are to have one. Where some are reserved only the Pods tell.
fn ordinals(set: &DynamicObject, pods: &Pods) -> BTreeSet<Ordinal> {
    let mut ordinals: BTreeSet<Ordinal> = pods.keys().copied().collect();
    let reserved = set.data.pointer("/spec/reserveOrdinals").and_then(Value::as_array);
    if reserved.is_none_or(Vec::is_empty) {
        let start = facts::integer(set, "/spec/ordinals/start").unwrap_or(0);
        let replicas = facts::integer(set, "/spec/replicas").unwrap_or(1);
        ordinals.extend(start..start.saturating_add(replicas));
    }
    ordinals
}

/// What keeps a claim from being one that nobody needs to think of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Flaw {
    Missing,
    Terminating,
    Lost,
    MadeForAnother,
    OwnedByAnother,
    Unbound,
}

impl Flaw {
    /// What it means, behind the count of claims.
    fn told(self) -> (Weight, &'static str) {
        match self {
            Flaw::Missing => (Weight::Doubt, "missing, made empty when the Pod is made anew"),
            Flaw::Terminating => (Weight::Doubt, "being deleted, gone with its data when no Pod uses it any more"),
            Flaw::Lost => (Weight::Doubt, "Lost, its volume is gone: a Pod that is made anew does not start"),
            Flaw::MadeForAnother => (Weight::Doubt, "made for another set: no Pod is made anew with it"),
            Flaw::OwnedByAnother => (Weight::Doubt, "owned by another object, deleted when that is"),
            Flaw::Unbound => (Weight::Note, "not bound yet"),
        }
    }
}

fn judge(
    wanted: &[String],
    found: &BTreeMap<String, PersistentVolumeClaim>,
    (set_name, uids): (&str, &[&str]),
    findings: &mut Findings,
) {
    let mut flaws: BTreeMap<Flaw, Vec<String>> = BTreeMap::new();
    for name in wanted {
        if let Some((flaw, whose)) = flaw(found.get(name), set_name, uids) {
            flaws.entry(flaw).or_default().push(format!("{name}{whose}"));
        }
    }
    let flawed: usize = flaws.values().map(Vec::len).sum();
    if wanted.len() > flawed {
        findings.fine(format!("{} there and bound", counted(wanted.len() - flawed, "claim")));
    }
    for (flaw, names) in flaws {
        let (weight, means) = flaw.told();
        let named = some_of(names.iter().map(String::as_str));
        findings.add(weight, format!("{} {means}: {named}", counted(names.len(), "claim")));
    }
}

/// With whose it is, where it is another's.
fn flaw(claim: Option<&PersistentVolumeClaim>, set_name: &str, uids: &[&str]) -> Option<(Flaw, String)> {
    let Some(claim) = claim else { return Some((Flaw::Missing, String::new())) };
    let metadata = &claim.metadata;
    if facts::is_terminating(metadata) {
        return Some((Flaw::Terminating, String::new()));
    }
    let phase = claim.status.as_ref().and_then(|status| status.phase.as_deref()).unwrap_or_default();
    if phase == "Lost" {
        return Some((Flaw::Lost, String::new()));
    }
    if let Some(other) = made_for_another(claim, set_name) {
        return Some((Flaw::MadeForAnother, format!(" ({other})")));
    }
    // A Pod owns the claim that is to go when it is scaled away.
    let mut owners = metadata.owner_references.iter().flatten();
    if let Some(other) = owners.find(|owner| owner.kind != "Pod" && !uids.contains(&owner.uid.as_str())) {
        return Some((Flaw::OwnedByAnother, format!(" ({} {}, UID {})", other.kind, other.name, other.uid)));
    }
    (phase != "Bound").then_some((Flaw::Unbound, String::new()))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn claim(patch: &Value) -> PersistentVolumeClaim {
        let mut claim = json!({"metadata": {"name": "data-web-1", "annotations": {}}, "status": {"phase": "Bound"}});
        for (pointer, value) in patch.as_object().unwrap() {
            let (parent, key) = pointer.rsplit_once('/').unwrap();
            claim.pointer_mut(parent).unwrap()[key] = value.clone();
        }
        serde_json::from_value(claim).unwrap()
    }

    fn told(second: Option<PersistentVolumeClaim>) -> Vec<String> {
        let wanted = ["data-web-0".to_owned(), "data-web-1".to_owned()];
        let mut found = BTreeMap::from([("data-web-0".to_owned(), claim(&json!({})))]);
        found.extend(second.map(|claim| ("data-web-1".to_owned(), claim)));
        let mut findings = Findings::default();
        judge(&wanted, &found, ("web", &["old", "new"]), &mut findings);
        findings.0.iter().map(ToString::to_string).collect()
    }

    fn owner(kind: &str, uid: &str) -> Value {
        json!([{"apiVersion": "v1", "kind": kind, "name": "x", "uid": uid}])
    }

    #[test]
    fn claims_that_are_fine_are_counted() {
        for patch in [
            json!({}),
            json!({"/metadata/ownerReferences": owner("StatefulSet", "old")}),
            json!({"/metadata/ownerReferences": owner("AdvancedStatefulSet", "new")}),
            json!({"/metadata/ownerReferences": owner("Pod", "any")}),
            json!({"/metadata/annotations": {"apps.asts.dev/set": "web"}}),
        ] {
            assert_eq!(told(Some(claim(&patch))), ["ok    2 claims there and bound"], "{patch}");
        }
    }

    #[test]
    fn others_are_named_with_what_it_means() {
        let line = |patch: Value| told(Some(claim(&patch))).join("\n");
        let first = "ok    1 claim there and bound\n";
        assert!(told(None).join("\n").starts_with(&format!("{first}no    1 claim missing, made empty")));
        let going = line(json!({"/metadata/deletionTimestamp": "2026-01-01T00:00:00Z"}));
        assert!(going.contains("no    1 claim being deleted") && going.ends_with(": data-web-1"), "{going}");
        assert!(line(json!({"/status/phase": "Lost"})).contains("no    1 claim Lost"));
        assert!(line(json!({"/status/phase": "Pending"})).contains("note  1 claim not bound yet: data-web-1"));
        let other = line(json!({"/metadata/annotations": {"apps.asts.dev/set": "b"}}));
        assert!(other.contains("no    1 claim made for another set") && other.contains("data-web-1 (b)"), "{other}");
        let owned = line(json!({"/metadata/ownerReferences": owner("StatefulSet", "earlier")}));
        assert!(owned.contains("data-web-1 (StatefulSet x, UID earlier)"), "{owned}");
    }

    #[test]
    fn every_ordinal_has_its_claims() {
        let set =
            |spec: Value| -> DynamicObject { serde_json::from_value(json!({"metadata": {}, "spec": spec})).unwrap() };
        let pods = Pods::from([(7, Default::default())]);
        let spec =
            json!({"replicas": 2, "ordinals": {"start": 3}, "volumeClaimTemplates": [{"metadata": {"name": "a"}}]});
        let given = set(spec);
        let all = wanted(&given, "web", &ordinals(&given, &pods));
        assert_eq!(all, ["a-web-3", "a-web-4", "a-web-7"]);
        assert_eq!(ordinals(&set(json!({"replicas": 2, "reserveOrdinals": [0]})), &pods), BTreeSet::from([7]));
    }
}
