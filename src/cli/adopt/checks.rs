//! What is looked at before an adoption is begun.

use k8s_openapi::api::core::v1::Pod;
use kube::api::DynamicObject;

use super::steps::Work;
use crate::api::names;
use crate::api::spec::PodUpdatePolicy;
use crate::cli::error::CliError;
use crate::cli::migrate::access::Right;
use crate::cli::migrate::claims;
use crate::cli::migrate::facts::{self, counted, some_of, uid};
use crate::cli::migrate::findings::Findings;
use crate::cli::migrate::kinds::{NATIVE, OURS};
use crate::cli::migrate::manager::{self, LeaseFlags};
use crate::cli::migrate::moving::Pods;
use crate::cli::migrate::preflight::{self, Verdict};
use crate::cli::migrate::record::Release;
use crate::cli::migrate::surroundings;

/// Rights that every adoption needs, in the namespace.
const RIGHTS: [Right; 6] = [
    Right::to("create", "apps.asts.dev", "advancedstatefulsets"),
    Right::to("get", "apps.asts.dev", "advancedstatefulsets"),
    Right::to("patch", "apps.asts.dev", "advancedstatefulsets"),
    Right::to("update", "apps.asts.dev", "advancedstatefulsets"),
    Right::to("list", "", "pods"),
    Right::to("list", "apps", "controllerrevisions"),
];

/// Looks at everything, and changes nothing. `taker`: the new set, where an earlier call has made it.
pub async fn look(
    work: &Work,
    old: &DynamicObject,
    taker: Option<&DynamicObject>,
    lease: &LeaseFlags,
) -> Result<Findings, CliError> {
    let under_way = "a release to this StatefulSet is under way: call release again to end it first";
    let (mut findings, verdict) = preflight::begin::<Release>(&work.moving, old, &RIGHTS, under_way).await?;
    if verdict == Verdict::Ends {
        return Ok(findings);
    }
    let old = &work.moving.observed(old).await?;
    if !is_served(work).await? {
        findings.refuse(
            "the cluster does not know AdvancedStatefulSets: install the definition first (kubectl apply -k config/crd)",
        );
        return Ok(findings);
    }
    manager::look(&work.moving.session, lease, &mut findings).await?;
    acceptance(work, old, taker, &mut findings).await?;
    owners(old, &mut findings);
    let pods = facts::pods(&work.moving.session, old).await?;
    pods_and_rollout(old, taker, &pods, work.moving.from.shown, &mut findings);
    let uids: Vec<&str> = [Some(old), taker].into_iter().flatten().map(|set| uid(&set.metadata)).collect();
    claims::look(&work.moving, old, &pods, &uids, &mut findings).await?;
    preflight::retained(old, &work.moving.old_shown(), &mut findings);
    surroundings::look(&work.moving.session, old, (work.moving.from, OURS), &mut findings).await?;
    Ok(findings)
}

async fn is_served(work: &Work) -> Result<bool, CliError> {
    match work.moving.session.client.list_api_group_resources(&OURS.api_version()).await {
        Ok(list) => Ok(list.resources.iter().any(|resource| resource.name == OURS.plural)),
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Whether the new set is one that the apiserver takes.
async fn acceptance(
    work: &Work,
    old: &DynamicObject,
    taker: Option<&DynamicObject>,
    findings: &mut Findings,
) -> Result<(), CliError> {
    let wanted = match work.shaped(old) {
        Ok(done) => done,
        Err(remarks) => {
            remarks.iter().for_each(|remark| findings.refuse(remark.to_string()));
            return Ok(());
        }
    };
    if taker.is_none() {
        preflight::accepted(&work.moving, &wanted.object, findings).await?;
    }
    let is_of_owner = |field: &str| field == "metadata.ownerReferences";
    wanted.notes.iter().filter(|note| !is_of_owner(&note.field)).for_each(|note| findings.note(note.to_string()));
    if work.moving.from.shown == NATIVE.shown && work.policy.is_some_and(|policy| policy != PodUpdatePolicy::ReCreate) {
        findings.note(format!(
            "the Pods have no readiness gate {}: until they are made anew they are updated in place without being taken \
             out of service first",
            names::READINESS_GATE
        ));
    }
    Ok(())
}

fn owners(old: &DynamicObject, findings: &mut Findings) {
    if let Some(owner) = facts::controller(&old.metadata) {
        findings.doubt(format!(
            "{} {} ({}) controls this StatefulSet, and makes it again when it is gone: have that one make \
             AdvancedStatefulSets",
            owner.kind, owner.name, owner.api_version
        ));
    }
}

/// Whether the old set stands still. A Pod that was made anew for the new set meanwhile is where it is to be.
pub fn pods_and_rollout(
    old: &DynamicObject,
    taker: Option<&DynamicObject>,
    pods: &Pods,
    shown: &str,
    findings: &mut Findings,
) {
    let replicas = facts::integer(old, "/spec/replicas").unwrap_or(1);
    let before = findings.0.len();
    let name_of = |pods: &[&Pod]| some_of(pods.iter().map(|pod| facts::name(pod)));
    let going: Vec<&Pod> = pods.values().filter(|pod| facts::is_terminating(&pod.metadata)).collect();
    if !going.is_empty() {
        findings.doubt(format!("{} being deleted: {}", counted(going.len(), "Pod"), name_of(&going)));
    }
    if i64::try_from(pods.len()).ok() != Some(replicas) {
        findings.doubt(format!("{} of {replicas} Pods are there: wait until the StatefulSet has scaled", pods.len()));
    }
    let set_uid = uid(&old.metadata);
    let is_taken = |pod: &Pod| taker.is_some_and(|taker| facts::is_controlled_by(&pod.metadata, uid(&taker.metadata)));
    let (own, others): (Vec<&Pod>, Vec<&Pod>) =
        pods.values().filter(|pod| !is_taken(pod)).partition(|pod| facts::is_controlled_by(&pod.metadata, set_uid));
    if !others.is_empty() {
        findings.refuse(format!("not the StatefulSet's, though they have its labels and name: {}", name_of(&others)));
    }
    if !facts::is_observed(old) {
        findings.doubt("the StatefulSet's controller has not seen its present spec yet");
    }
    let update = facts::text(old, "/status/updateRevision").unwrap_or_default();
    let outdated: Vec<&Pod> = own.into_iter().filter(|pod| facts::revision_label(pod) != update).collect();
    let on_delete = facts::text(old, "/spec/updateStrategy/type") == Some("OnDelete");
    if !outdated.is_empty() {
        let told = format!("{} of {} Pods are not on {update}: {}", outdated.len(), pods.len(), name_of(&outdated));
        if on_delete {
            findings.note(format!("{told}; under OnDelete they stay so until they are deleted"));
        } else {
            let how =
                if shown == NATIVE.shown { ": finish it first (kubectl rollout status)" } else { ": finish it first" };
            findings.doubt(format!(
                "a rollout is under way{how}; {told}. It would go on under the new set; Pods that a partition holds \
                 back come back on {update} when they are made anew"
            ));
        }
    }
    let unready = pods.values().filter(|pod| !facts::is_ready(pod)).count();
    if unready > 0 {
        findings.note(format!("{} not Ready", counted(unready, "Pod")));
    }
    if findings.0.len() == before {
        findings.fine(format!("{} there, Ready, and on {update}", counted(pods.len(), "Pod")));
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use crate::model::Ordinal;

    use super::*;
    use crate::cli::migrate::findings::Weight;

    fn set(strategy: &str) -> DynamicObject {
        serde_json::from_value(json!({
            "metadata": {"name": "web", "uid": "old", "generation": 2},
            "spec": {"replicas": 2, "updateStrategy": {"type": strategy}},
            "status": {"observedGeneration": 2, "updateRevision": "web-b"},
        }))
        .unwrap()
    }

    fn pod(ordinal: i64, patch: Value) -> (Ordinal, Pod) {
        let mut pod = json!({
            "metadata": {
                "name": format!("web-{ordinal}"), "labels": {"controller-revision-hash": "web-b"},
                "ownerReferences": [{"apiVersion": "apps/v1", "kind": "StatefulSet", "name": "web", "uid": "old", "controller": true}],
            },
            "status": {"conditions": [{"type": "Ready", "status": "True"}]},
        });
        for (key, value) in patch.as_object().unwrap() {
            *pod.pointer_mut(key).unwrap() = value.clone();
        }
        (ordinal, serde_json::from_value(pod).unwrap())
    }

    fn judged(old: &DynamicObject, pods: Vec<(Ordinal, Pod)>) -> Vec<(Weight, String)> {
        let mut findings = Findings::default();
        pods_and_rollout(old, None, &pods.into_iter().collect(), NATIVE.shown, &mut findings);
        findings.0.into_iter().map(|finding| (finding.weight, finding.text)).collect()
    }

    #[track_caller]
    fn says(found: &[(Weight, String)], weight: Weight, text: &str) {
        assert!(found.iter().any(|(one, said)| *one == weight && said.contains(text)), "{text}: {found:?}");
    }

    #[test]
    fn a_set_that_stands_still_is_fine() {
        let found = judged(&set("RollingUpdate"), vec![pod(0, json!({})), pod(1, json!({}))]);
        assert_eq!(found, [(Weight::Fine, "2 Pods there, Ready, and on web-b".to_owned())]);
    }

    #[test]
    fn what_moves_is_doubted() {
        let old_label = json!({"/metadata/labels": {"controller-revision-hash": "web-a"}});
        let rolling = judged(&set("RollingUpdate"), vec![pod(0, old_label.clone()), pod(1, json!({}))]);
        says(&rolling, Weight::Doubt, "1 of 2 Pods are not on web-b: web-0");
        let on_delete = judged(&set("OnDelete"), vec![pod(0, old_label), pod(1, json!({}))]);
        says(&on_delete, Weight::Note, "until they are deleted");
        says(&judged(&set("RollingUpdate"), vec![pod(0, json!({}))]), Weight::Doubt, "1 of 2 Pods are there");
        let mut going = pod(1, json!({}));
        going.1.metadata.deletion_timestamp = serde_json::from_value(json!("2026-01-01T00:00:00Z")).unwrap();
        says(&judged(&set("RollingUpdate"), vec![pod(0, json!({})), going]), Weight::Doubt, "being deleted: web-1");
        let mut unseen = set("RollingUpdate");
        unseen.metadata.generation = Some(3);
        says(&judged(&unseen, vec![pod(0, json!({})), pod(1, json!({}))]), Weight::Doubt, "has not seen");
    }

    #[test]
    fn pods_of_others_are_refused_and_broken_ones_told() {
        let foreign = pod(1, json!({"/metadata/ownerReferences": []}));
        says(&judged(&set("RollingUpdate"), vec![pod(0, json!({})), foreign]), Weight::Refusal, "web-1");
        let broken = pod(1, json!({"/status/conditions": []}));
        says(&judged(&set("RollingUpdate"), vec![pod(0, json!({})), broken]), Weight::Note, "1 Pod not Ready");
    }

    #[test]
    fn a_pod_made_anew_for_the_new_set_is_no_stranger() {
        let owner = json!([{"apiVersion": "a", "kind": "b", "name": "web", "uid": "new", "controller": true}]);
        let made = json!({"/metadata/ownerReferences": owner, "/metadata/labels": {"controller-revision-hash": "b"}});
        let pods: Pods = [pod(0, json!({})), pod(1, made)].into_iter().collect();
        let taker = serde_json::from_value(json!({"metadata": {"name": "web", "uid": "new"}})).unwrap();
        let mut findings = Findings::default();
        pods_and_rollout(&set("RollingUpdate"), Some(&taker), &pods, NATIVE.shown, &mut findings);
        assert_eq!(findings.0[0].weight, Weight::Fine, "{findings:?}");
    }

    #[test]
    fn an_owner_is_doubted_by_name() {
        let mut old = set("RollingUpdate");
        let owner =
            json!([{"apiVersion": "db/v1", "kind": "Postgres", "name": "main", "uid": "u", "controller": true}]);
        old.metadata.owner_references = serde_json::from_value(owner).unwrap();
        let mut findings = Findings::default();
        owners(&old, &mut findings);
        assert!(findings.0[0].text.starts_with("Postgres main (db/v1) controls"), "{findings:?}");
        assert_eq!(findings.0[0].weight, Weight::Doubt);
    }
}
