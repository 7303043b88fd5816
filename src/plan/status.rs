//! What users and other programs read: counts, revisions and which slots are updated.

use serde_json::Value;

use super::action::StatusWrite;
use super::draft::{Context, Draft};
use super::view::{Holder, View};
use crate::api::names::conditions as types;
use crate::api::status::VolumeClaimStatus;
use crate::api::{AdvancedStatefulSetStatus, Condition};
use crate::inplace::quantity::quantity_bytes;
use crate::model::{PodFacts, Ranges};
use crate::plan::draft::is_under_way;
use crate::plan::{build, conditions, grow};

/// The status that this moment calls for.
pub fn status(context: Context<'_>, draft: &mut Draft) -> AdvancedStatefulSetStatus {
    let set = &context.snapshot.set;
    let revisions = context.revisions;
    let counts = Counts::of(context);
    let complete = counts.is_complete(context) && draft.holds.is_empty();
    // Without slots nothing was rolled out: what pauses a rollout, or is to hold slots back, holds when there are some again.
    let rolled_out =
        !context.spec.slots.is_empty() || (!context.spec.rolling.paused && context.spec.rolling.partition_is_zero);
    let current = if complete && rolled_out { &revisions.update } else { &revisions.current };
    let mut status = AdvancedStatefulSetStatus {
        observed_generation: Some(set.generation),
        replicas: number(counts.created),
        ready_replicas: number(counts.ready),
        available_replicas: number(counts.available),
        current_replicas: number(if current.hash == revisions.update.hash { counts.updated } else { counts.current }),
        updated_replicas: number(counts.updated),
        updated_ready_replicas: number(counts.updated_ready),
        updated_available_replicas: number(counts.updated_available),
        updated_ordinals: Some(updated_ordinals(context, draft).to_text()).filter(|text| !text.is_empty()),
        current_revision: Some(current.name.to_string()),
        update_revision: Some(revisions.update.name.to_string()),
        images: images(&context.spec.template),
        collision_count: Some(revisions.collision_count.unwrap_or(0)),
        label_selector: Some(context.spec.selector.to_text()),
        volume_claims: volume_claims(context),
        disrupted: draft.ledger.clone(),
        conditions: Vec::new(),
    };
    status.conditions = conditions::conditions(context, draft, &counts, complete, &status);
    status
}

/// The images of the containers, as they are written; not the template's whole text, however long it is.
fn images(template: &Value) -> Option<String> {
    const IMAGES_BYTES_MAX: usize = 1024;
    let containers = template.pointer("/spec/containers")?.as_array()?;
    let images: Vec<&str> = containers.iter().filter_map(|container| container.get("image")?.as_str()).collect();
    let mut text = String::new();
    for image in images {
        if text.len() + image.len() > IMAGES_BYTES_MAX {
            text.push_str(",…");
            break;
        }
        if !text.is_empty() {
            text.push(',');
        }
        text.push_str(image);
    }
    Some(text).filter(|text| !text.is_empty())
}

/// How urgent it is to store `wanted` over what is stored.
pub fn urgency(stored: &AdvancedStatefulSetStatus, wanted: &AdvancedStatefulSetStatus) -> StatusWrite {
    if stored == wanted {
        return StatusWrite::None;
    }
    // What this plan does, and a next one after a crash, rests on these.
    let leans_on_it = stored.current_revision != wanted.current_revision
        || stored.update_revision != wanted.update_revision
        || stored.collision_count.unwrap_or(0) != wanted.collision_count.unwrap_or(0)
        || stored.disrupted != wanted.disrupted;
    if leans_on_it {
        return StatusWrite::Now;
    }
    let same_outcome = stored.observed_generation == wanted.observed_generation
        && outcome(&stored.conditions) == outcome(&wanted.conditions);
    if same_outcome { StatusWrite::Later } else { StatusWrite::Soon }
}

/// What conditions say, without what they say on the way.
fn outcome(conditions: &[Condition]) -> Vec<(&str, &str, &str)> {
    conditions.iter().map(outcome_of).collect()
}

fn outcome_of(one: &Condition) -> (&str, &str, &str) {
    let reason = one.reason.as_deref().unwrap_or_default();
    let on_the_way = one.type_ == types::PROGRESSING && one.status == "True" && !conditions::is_standing(reason);
    (&one.type_, &one.status, if on_the_way { "" } else { reason })
}

fn number(count: usize) -> i32 {
    i32::try_from(count).unwrap_or(i32::MAX)
}

/// Pods, counted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    pub created: usize,
    pub ready: usize,
    pub available: usize,
    pub current: usize,
    pub updated: usize,
    pub updated_ready: usize,
    pub updated_available: usize,
    /// Slots whose Pod is available.
    pub slots_available: usize,
    pub condemned: usize,
    /// Slots whose Pod is on another revision than the update revision.
    pub outdated: usize,
    /// Those of them that nothing but the partition holds back.
    pub held: usize,
    pub under_way: usize,
    /// Updated slots whose claims are not yet what is asked for.
    pub claims_unfinished: usize,
}

impl Counts {
    fn of(context: Context<'_>) -> Counts {
        let view: &View = context.view;
        let revisions = context.revisions;
        let mut counts = Counts {
            condemned: view.condemned.len(),
            claims_unfinished: grow::unfinished(context),
            ..Counts::default()
        };
        let hash_is =
            |pod: &PodFacts, hash: &str, name: &str| pod.revision_label() == hash || pod.revision_label() == name;
        let slots = view.slots.iter().filter_map(|slot| slot.pod().map(|pod| (Some(slot), pod)));
        let condemned = view.condemned.iter().map(|(_, pod)| (None, pod));
        for (slot, pod) in slots.chain(condemned) {
            let available = view.is_available(pod);
            counts.created += 1;
            counts.ready += usize::from(pod.is_ready());
            counts.available += usize::from(available);
            if pod.is_terminating() {
                continue;
            }
            counts.current += usize::from(hash_is(pod, &revisions.current.hash, &revisions.current.name));
            let updated = hash_is(pod, &revisions.update.hash, &revisions.update.name);
            if updated {
                counts.updated += 1;
                counts.updated_ready += usize::from(pod.is_ready());
                counts.updated_available += usize::from(available);
            }
            if let Some(slot) = slot {
                counts.slots_available += usize::from(available);
                let unfinished =
                    slot.member().is_some_and(|member| member.half_resized || member.unlabelled().is_some());
                counts.under_way += usize::from(unfinished || is_under_way(context, pod));
                if !updated {
                    counts.outdated += 1;
                    counts.held += usize::from(slot.held);
                }
            }
        }
        counts
    }

    /// Every slot has an available Pod on the update revision, and no other Pod is left.
    pub fn is_complete(&self, context: Context<'_>) -> bool {
        self.outdated == 0
            && self.under_way == 0
            && self.condemned == 0
            && self.claims_unfinished == 0
            && self.slots_available == context.view.slots.len()
            && context.revisions.invalid_template.is_none()
    }
}

fn updated_ordinals(context: Context<'_>, draft: &Draft) -> Ranges {
    let update = &context.revisions.update;
    Ranges::from_ordinals(
        context
            .view
            .slots
            .iter()
            .filter(|slot| match &slot.holder {
                Holder::Member(member) if member.is_made_from(update) => true,
                Holder::Member(member) if !member.pod.is_terminating() => draft.updated.contains(&slot.ordinal),
                _ => slot.was_updated || draft.updated.contains(&slot.ordinal),
            })
            .map(|slot| slot.ordinal),
    )
}

fn volume_claims(context: Context<'_>) -> Vec<VolumeClaimStatus> {
    let set = &context.snapshot.set;
    let of_template = |template: &crate::model::ClaimTemplate| {
        let asked = template.raw.pointer("/spec/resources/requests/storage").and_then(quantity_bytes);
        let mut counted =
            VolumeClaimStatus { volume_claim_name: template.name.clone(), ..VolumeClaimStatus::default() };
        for slot in &context.view.slots {
            let name = build::claim_name(&template.name, &set.name, slot.ordinal);
            let Some(claim) = context.snapshot.claims.get(name.as_str()) else { continue };
            if claim.requested_bytes >= asked {
                counted.compatible_replicas += 1;
                counted.compatible_ready_replicas += i32::from(claim.capacity_bytes >= asked);
            }
        }
        counted
    };
    context.spec.claim_templates.iter().map(of_template).collect()
}
