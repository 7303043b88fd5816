//! `prePull: true`: the nodes of the next Pods pull the new images before any Pod is touched. A helper Pod bound to the
//! node names the images and a command that is in none of them: the kubelet pulls, fails to start, and nothing has run.

use std::collections::{BTreeMap, BTreeSet};

use jiff::SignedDuration;
use serde_json::{Value, json};

use super::action::Action;
use super::build::set_claim_owner;
use super::draft::{Context, Draft, target};
use super::rollout::cannot_run;
use super::view::{Member, Slot};
use crate::api::names;
use crate::inplace::image::same_reference;
use crate::model::{PodFacts, SetFacts, Snapshot, helper};

/// Most helpers of a set at once, and how many nodes ahead of the rollout have the images.
const HELPERS_MAX: usize = 4;
/// A helper that the kubelet turned away is tried anew after this time.
const REJECTED_SECONDS: i64 = 20;
/// And one whose image cannot be pulled: the kubelet itself would come to try every five minutes only.
const FAILED_SECONDS: i64 = 60;
/// No image has it.
const NO_COMMAND: &str = "/.asts-pre-pull/does-not-exist";

/// Images that one node is to have.
type Need = (Box<str>, BTreeSet<Box<str>>);

/// What became of the images that a Pod needs.
enum Pull {
    Done,
    /// Being pulled, or to be pulled.
    UnderWay(String),
    /// Said by the kubelet or the apiserver: it may heal, and nothing is touched until it does.
    Failed(String),
}

/// Makes the helpers of the next Pods. `outdated` is in the order of their update.
pub fn prepare(context: Context<'_>, draft: &mut Draft, outdated: &[&Slot]) {
    if !context.spec.rolling.pre_pull {
        return;
    }
    let mut free = HELPERS_MAX.saturating_sub(context.snapshot.helpers.len());
    let mut failures = Vec::new();
    let mut under_way = Vec::new();
    for need in next_needs(context, outdated) {
        match pull(context, &need) {
            Pull::Done => {
                // Another controller, which does not know it, may be having it pulled again.
                let name = helper_name(&context.snapshot.set, &need);
                if context.snapshot.helpers.get(name.as_str()).is_some_and(|helper| is_at_work(helper)) {
                    draft.helpers_wanted.insert(name.into());
                }
                continue;
            }
            Pull::Failed(message) => failures.push(message),
            Pull::UnderWay(message) => under_way.push(message),
        }
        let name = helper_name(&context.snapshot.set, &need);
        match context.snapshot.helpers.get(name.as_str()) {
            Some(helper) => retry_later(context, draft, helper),
            None if free > 0 => {
                free -= 1;
                let reason = format!("node {} is to pull {}", need.0, listed(&need.1));
                let pod = Box::new(helper_pod(context, &name, &need));
                draft.act(&name, Action::CreateHelper { name: name.as_str().into(), pod, reason });
            }
            None => {}
        }
        draft.helpers_wanted.insert(name.into());
    }
    draft.images_fail = !failures.is_empty();
    failures.append(&mut under_way);
    if let Some(message) = failures.into_iter().next() {
        draft.wait("WaitingForImage", message);
        draft.images_are_waited_for = true;
    }
}

/// What the nodes of the next Pods are to have, each node and set of images once.
fn next_needs(context: Context<'_>, outdated: &[&Slot]) -> Vec<Need> {
    let mut needs: Vec<Need> = Vec::new();
    let members = outdated.iter().filter_map(|slot| slot.member());
    for need in members.filter(|member| is_served(context, &member.pod)).filter_map(|member| need_of(context, member)) {
        if needs.len() == HELPERS_MAX {
            break;
        }
        if !needs.contains(&need) {
            needs.push(need);
        }
    }
    needs
}

/// A Pod that cannot run has nothing to lose: it is not waited for, and does not wait.
fn is_served(context: Context<'_>, pod: &PodFacts) -> bool {
    pod.is_ready() || !cannot_run(pod, context.view.now)
}

/// False: the Pod waits until the nodes of the next Pods, and its own, have the images. One image that cannot be
/// pulled anywhere among them stops the rollout.
pub fn before_update(context: Context<'_>, draft: &mut Draft, member: &Member) -> bool {
    if !context.spec.rolling.pre_pull || !is_served(context, &member.pod) {
        return true;
    }
    if draft.images_are_waited_for {
        return false;
    }
    let need = need_of(context, member);
    need.is_none_or(|need| matches!(pull(context, &need), Pull::Done))
}

/// Removes helpers that are done, or that nobody waits for any more.
pub fn clean(context: Context<'_>, draft: &mut Draft) {
    for (name, helper) in &context.snapshot.helpers {
        if helper.is_terminating() || draft.helpers_wanted.contains(name) {
            continue;
        }
        let images: Vec<Box<str>> = pulled(helper).map(Box::from).collect();
        let node = helper.node.clone().unwrap_or_default();
        let reason = if images.is_empty() {
            "nothing waits for it any more".to_owned()
        } else {
            format!("node {node} has pulled {}", images.join(", "))
        };
        let pulled = images.into_iter().map(|image| (node.clone(), image)).collect();
        draft.act(name, Action::DeleteHelper { target: target(helper), pulled, reason });
    }
}

/// Node and image, of all that helpers are seen to have pulled. To be remembered when it is seen: the helper may go by
/// another controller's hand.
pub fn pulled_by_helpers(snapshot: &Snapshot) -> Vec<(Box<str>, Box<str>)> {
    let of = |helper: &PodFacts| {
        let node = helper.node.clone().unwrap_or_default();
        pulled(helper).map(|image| (node.clone(), image.into())).collect::<Vec<_>>()
    };
    snapshot.helpers.values().flat_map(|helper| of(helper)).collect()
}

/// The new images of a Pod's update that its node may lack: those that no container of the Pod's own template has.
fn need_of(context: Context<'_>, member: &Member) -> Option<Need> {
    let node = member.pod.node.clone()?;
    let old = images(member.template());
    let new = images(&context.revisions.update.template);
    let lacking: BTreeSet<Box<str>> =
        new.into_iter().filter(|image| !old.iter().any(|had| same_reference(had, image))).map(Box::from).collect();
    (!lacking.is_empty()).then_some((node, lacking))
}

/// All images that a template names: of containers and of image volumes.
fn images(template: &Value) -> Vec<&str> {
    let list = |field: &str| template.pointer(field).and_then(Value::as_array).into_iter().flatten();
    let containers = list("/spec/initContainers").chain(list("/spec/containers"));
    let of_containers = containers.filter_map(|container| container.get("image")?.as_str());
    of_containers
        .chain(list("/spec/volumes").filter_map(|volume| volume.pointer("/image/reference")?.as_str()))
        .filter(|image| !image.is_empty())
        .collect()
}

fn pulled(helper: &PodFacts) -> impl Iterator<Item = &str> {
    let images = helper.helper.iter().flat_map(|facts| &facts.images);
    images.filter(|image| image.pulled).map(|image| &*image.image)
}

/// It has not pulled all of its images, and nothing is said against it yet.
fn is_at_work(helper: &PodFacts) -> bool {
    let images = helper.helper.as_ref().map_or(&[][..], |facts| &facts.images);
    !helper.is_terminal()
        && images.iter().all(|image| image.error.is_none())
        && !images.iter().all(|image| image.pulled)
}

fn rejected(helper: &PodFacts) -> bool {
    helper.is_terminal() && helper.helper.as_ref().is_some_and(|facts| !facts.images.iter().all(|image| image.pulled))
}

fn pull(context: Context<'_>, need: &Need) -> Pull {
    let snapshot = context.snapshot;
    let (node, images) = need;
    let name = helper_name(&snapshot.set, need);
    let helper = snapshot.helpers.get(name.as_str());
    let of_node = || snapshot.helpers.values().filter(|helper| helper.node.as_ref() == Some(node));
    let is_there = |image: &str| {
        snapshot.answers.pulled_images.contains(&(node.clone(), image.into()))
            || of_node().any(|helper| pulled(helper).any(|pulled| pulled == image))
    };
    let lacking: BTreeSet<Box<str>> = images.iter().filter(|image| !is_there(image)).cloned().collect();
    if lacking.is_empty() {
        return Pull::Done;
    }
    if let Some(message) = helper.and_then(|helper| failure(node, helper)) {
        return Pull::Failed(message);
    }
    let object = format!("Pod {name}");
    if helper.is_none()
        && let Some(refusal) = snapshot.answers.refusals.iter().find(|refusal| refusal.object == object)
    {
        return Pull::Failed(format!("cannot pre-pull {} on node {node}: {}", listed(&lacking), refusal.message));
    }
    Pull::UnderWay(format!("node {node} pulls {} first", listed(&lacking)))
}

/// What the kubelet says against a helper.
fn failure(node: &str, helper: &PodFacts) -> Option<String> {
    let facts = helper.helper.as_ref()?;
    if let Some(image) = facts.images.iter().find(|image| image.error.is_some()) {
        let error = image.error.as_deref().unwrap_or_default();
        return Some(format!("image {} cannot be pulled on node {node}: {error}", image.image));
    }
    rejected(helper).then(|| {
        let why = facts.rejected.as_deref().unwrap_or("the kubelet did not say why");
        format!("cannot pre-pull on node {node}, it turned the helper Pod {} away: {why}", helper.name)
    })
}

/// Removes a helper that failed a while ago, so that the next plan makes it anew.
fn retry_later(context: Context<'_>, draft: &mut Draft, helper: &PodFacts) {
    let failed = helper.helper.iter().flat_map(|facts| &facts.images).any(|image| image.error.is_some());
    let wait_seconds = match (rejected(helper), failed) {
        (true, _) => REJECTED_SECONDS,
        (false, true) => FAILED_SECONDS,
        (false, false) => return,
    };
    let since = helper.created_at.unwrap_or(context.view.now);
    let due = since.saturating_add(SignedDuration::from_secs(wait_seconds)).unwrap_or(since);
    if context.view.now < due {
        draft.wake(due);
    } else if !helper.is_terminating() {
        let reason = "it failed, and is tried anew".to_owned();
        draft.act(&helper.name, Action::DeleteHelper { target: target(helper), pulled: Vec::new(), reason });
    }
}

fn helper_name(set: &SetFacts, (node, images): &Need) -> String {
    helper::helper_name(&set.name, &helper::helper_hash(&format!("{} {node} {}", set.uid, listed(images))))
}

fn listed(images: &BTreeSet<Box<str>>) -> String {
    images.iter().map(|image| &**image).collect::<Vec<_>>().join(", ")
}

/// A Pod that makes its node pull images and never runs anything of them.
fn helper_pod(context: Context<'_>, name: &str, (node, images): &Need) -> Value {
    let set = &context.snapshot.set;
    let containers: Vec<Value> = images.iter().enumerate().map(|(index, image)| container(index, image)).collect();
    let mut spec = json!({
        "nodeName": node,
        "restartPolicy": "Never",
        "terminationGracePeriodSeconds": 1,
        "automountServiceAccountToken": false,
        "enableServiceLinks": false,
        "tolerations": [{"operator": "Exists"}],
        "securityContext": {
            "runAsNonRoot": true, "runAsUser": 65534, "runAsGroup": 65534, "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": containers,
    });
    let template = context.revisions.update.template.get("spec");
    for field in ["imagePullSecrets", "serviceAccountName", "serviceAccount"] {
        if let Some(value) = template.and_then(|spec| spec.get(field)) {
            spec[field] = value.clone();
        }
    }
    let listed = json!(images).to_string();
    let mut annotations: BTreeMap<&str, &str> = names::HELPER_ANNOTATIONS.into_iter().collect();
    annotations.insert(names::PRE_PULL_IMAGES_ANNOTATION, &listed);
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": name,
            "namespace": set.namespace,
            "labels": {names::PRE_PULL_LABEL: set.uid, "sidecar.istio.io/inject": "false"},
            "annotations": annotations,
            "ownerReferences": [set_claim_owner(set)],
        },
        "spec": spec,
    })
}

fn container(index: usize, image: &str) -> Value {
    json!({
        "name": helper::helper_container_name(index),
        "image": image,
        "imagePullPolicy": "IfNotPresent",
        "command": [NO_COMMAND],
        // Tiny, and there: a quota may ask for them.
        "resources": {
            "requests": {"cpu": "1m", "memory": "1Mi"}, "limits": {"cpu": "100m", "memory": "64Mi"},
        },
        "securityContext": {
            "allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]},
            "privileged": false, "readOnlyRootFilesystem": true,
        },
    })
}
