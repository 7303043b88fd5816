//! What a plan says, as a value: `-o json` and `-o yaml` print it as it is, the text is made of it.

use serde::Serialize;
use serde_json::Value;

use super::forecast::{End, Forecast, What};
use super::pods::pods;
use super::spec_fields::SpecField;
use crate::api::names::{self, conditions as types};
use crate::cli::Exit;
use crate::inplace::{Class, Pace};
use crate::model::{Gate, Snapshot};
use crate::plan::explain::{Explanation, Verdict};

/// The form of [`Report`]: fields may be added to it, none is taken away or means something else.
pub const API_VERSION: &str = "cli.asts.dev/v1";

/// One set's plan.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    pub api_version: &'static str,
    /// `Plan`.
    pub kind: &'static str,
    pub namespace: String,
    pub name: String,
    /// The set is there.
    pub exists: bool,
    pub summary: Summary,
    pub revision: Option<RevisionReport>,
    /// Fields of the template, by the revision that Pods are on now.
    pub fields: Vec<FieldReport>,
    /// Fields of the spec beside the template.
    pub spec_fields: Vec<SpecField>,
    pub waves: Vec<WaveReport>,
    pub pods: Vec<PodReport>,
    pub claims: Vec<ClaimReport>,
    /// What keeps Pods from being updated.
    pub blocked: Vec<Blocked>,
    /// Why the change cannot happen at all; null: it can.
    pub refused: Option<String>,
    pub notes: Vec<String>,
}

/// Pods, counted by what happens to them.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Summary {
    /// Replicas that are wanted.
    pub replicas: usize,
    pub in_place: usize,
    pub recreated: usize,
    pub created: usize,
    pub removed: usize,
    /// On another revision than the template's, and staying so.
    pub held: usize,
    pub waves: usize,
    /// 0: nothing would change; 2: no Pod would be re-created or removed; 3: some would; 1: it cannot happen.
    pub exit_code: u8,
}

#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RevisionReport {
    pub name: String,
    pub number: i64,
    pub state: RevisionState,
    /// What the Pods are to come from, where that differs.
    pub current: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum RevisionState {
    /// The one that the set has.
    Unchanged,
    /// An older one, which says the same.
    Reused,
    New,
}

#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct FieldReport {
    pub path: String,
    /// `Dynamic`, `Rebuild` or `Static`.
    pub class: &'static str,
    pub in_place: bool,
    pub why: String,
    pub old: Option<Value>,
    pub new: Option<Value>,
    /// The revision of the Pods that it differs from; null: none that is known.
    pub from_revision: Option<String>,
    pub pods: Vec<String>,
}

#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct WaveReport {
    /// From 1.
    pub number: usize,
    pub pods: Vec<MoveReport>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct MoveReport {
    pub name: String,
    pub action: PodAction,
    pub why: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum PodAction {
    None,
    InPlace,
    Recreate,
    Create,
    Remove,
    Adopt,
    Release,
    /// Its claims grow.
    GrowClaims,
    /// Taken out of service; more was not played through.
    Prepare,
}

#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PodReport {
    pub name: String,
    pub action: PodAction,
    /// The first wave that it is in.
    pub wave: Option<usize>,
    /// Containers that are re-created in place.
    pub containers: Vec<String>,
    /// What keeps it as it is: `paused`, `partition`, `onDelete`, `inPlaceOnly`, `denied`, `waiting`.
    pub held_by: Option<&'static str>,
    /// What would be done to a Pod that is kept as it is.
    pub would: Option<PodAction>,
    pub why: Option<String>,
}

#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ClaimReport {
    pub name: String,
    /// `create` or `grow`.
    pub action: &'static str,
    pub from_bytes: Option<u64>,
    pub to_bytes: Option<u64>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Blocked {
    /// The reason that the set's condition would give: `Paused`, `Partitioned`, `InvalidTemplate`, …
    pub reason: String,
    pub message: String,
}

impl Report {
    pub fn exit(&self) -> Exit {
        Exit(self.summary.exit_code)
    }
}

/// What a report is made of.
pub struct Found<'a> {
    pub start: &'a Snapshot,
    pub exists: bool,
    /// `None`: the set is refused or goes.
    pub explanation: Option<&'a Explanation>,
    pub forecast: &'a Forecast,
    /// Why the change cannot happen at all.
    pub refused: Option<String>,
    pub spec_fields: Vec<SpecField>,
    pub notes: Vec<String>,
}

/// Puts together what was found out.
pub fn report(found: Found<'_>) -> Report {
    let forecast = found.forecast;
    let waves = waves(forecast);
    let pods = pods(&found, &waves);
    let claims = claims(forecast);
    let mut summary = summary(&found, &waves, &pods);
    let denied = pods.iter().find(|pod| pod.held_by == Some("denied")).and_then(|pod| pod.why.as_deref());
    let refused = found.refused.clone().or_else(|| denied.map(|why| format!("a policy denies it: {why}")));
    let fields: Vec<FieldReport> = found.explanation.map(fields).unwrap_or_default();
    let changes = !waves.is_empty() || !claims.is_empty() || !found.spec_fields.is_empty() || !fields.is_empty();
    let changes = changes || !found.exists || found.explanation.is_some_and(|it| it.update.is_new);
    let is_waiting = |pod: &PodReport| pod.held_by == Some("waiting") && pod.would == Some(PodAction::Recreate);
    let recreates = summary.recreated + summary.removed > 0 || pods.iter().any(is_waiting);
    summary.exit_code = match (&refused, changes, recreates) {
        (Some(_), _, _) => 1,
        (None, false, _) => 0,
        (None, true, false) => 2,
        (None, true, true) => 3,
    };
    let mut notes = assumptions(forecast);
    notes.extend(without_gate(&found, &pods));
    notes.extend(found.notes.iter().cloned());
    Report {
        api_version: API_VERSION,
        kind: "Plan",
        namespace: found.start.set.namespace.to_string(),
        name: found.start.set.name.to_string(),
        exists: found.exists,
        summary,
        revision: found.explanation.map(|explanation| revision(&found, explanation)),
        fields,
        spec_fields: found.spec_fields.clone(),
        waves,
        pods,
        claims,
        blocked: blocked(forecast),
        refused,
        notes,
    }
}

fn waves(forecast: &Forecast) -> Vec<WaveReport> {
    let wave = |(index, wave): (usize, &super::forecast::Wave)| WaveReport {
        number: index + 1,
        pods: wave
            .moves
            .iter()
            .map(|one| MoveReport { name: one.pod.to_string(), action: action(one.what), why: one.why.clone() })
            .collect(),
    };
    forecast.waves.iter().enumerate().map(wave).collect()
}

fn action(what: What) -> PodAction {
    match what {
        What::Metadata | What::Live | What::Containers => PodAction::InPlace,
        What::Recreate => PodAction::Recreate,
        What::Create => PodAction::Create,
        What::Remove => PodAction::Remove,
        What::Adopt => PodAction::Adopt,
        What::Release => PodAction::Release,
        What::Claims => PodAction::GrowClaims,
        What::Begun => PodAction::Prepare,
    }
}

fn claims(forecast: &Forecast) -> Vec<ClaimReport> {
    let bytes = |bytes: Option<u128>| bytes.and_then(|bytes| u64::try_from(bytes).ok());
    let claim = |one: &super::forecast::ClaimMove| ClaimReport {
        name: one.claim.to_string(),
        action: if one.made { "create" } else { "grow" },
        from_bytes: bytes(one.from_bytes),
        to_bytes: bytes(one.to_bytes),
    };
    forecast.claims.iter().map(claim).collect()
}

fn summary(found: &Found<'_>, waves: &[WaveReport], pods: &[PodReport]) -> Summary {
    let count = |action: PodAction| pods.iter().filter(|pod| pod.action == action).count();
    Summary {
        replicas: usize::try_from(found.start.set.spec.replicas.unwrap_or(1)).unwrap_or(0),
        in_place: count(PodAction::InPlace),
        recreated: count(PodAction::Recreate),
        created: count(PodAction::Create),
        removed: count(PodAction::Remove),
        held: pods.iter().filter(|pod| pod.held_by.is_some()).count(),
        waves: waves.len(),
        exit_code: 0,
    }
}

fn fields(explanation: &Explanation) -> Vec<FieldReport> {
    let of_group = |group: &crate::plan::explain::Group| {
        let pods: Vec<String> = group.pods.iter().map(ToString::to_string).collect();
        let from_revision = group.revision.as_ref().map(ToString::to_string);
        let field = move |field: &crate::plan::explain::FieldOutlook| FieldReport {
            path: field.path.clone(),
            class: class(field.class),
            in_place: field.in_place,
            why: field.why.clone(),
            old: field.old.clone(),
            new: field.new.clone(),
            from_revision: from_revision.clone(),
            pods: pods.clone(),
        };
        group.fields.iter().map(field).collect::<Vec<_>>()
    };
    explanation.groups.iter().flat_map(of_group).collect()
}

fn class(class: Class) -> &'static str {
    match class {
        Class::Dynamic => "Dynamic",
        Class::Rebuild => "Rebuild",
        Class::Static => "Static",
    }
}

fn revision(found: &Found<'_>, explanation: &Explanation) -> RevisionReport {
    let status = &found.start.set.status;
    let update = &explanation.update;
    let state = match status.update_revision.as_deref() {
        _ if update.is_new => RevisionState::New,
        Some(name) if name == &*update.name => RevisionState::Unchanged,
        _ => RevisionState::Reused,
    };
    RevisionReport {
        name: update.name.to_string(),
        number: update.number,
        state,
        current: status.update_revision.clone().filter(|name| **name != *update.name),
    }
}

/// Conditions that would say in the end why not all is done.
fn blocked(forecast: &Forecast) -> Vec<Blocked> {
    let mut blocked: Vec<Blocked> = Vec::new();
    for condition in &forecast.conditions {
        let reason = condition.reason.clone().unwrap_or_default();
        let stands = match condition.type_.as_str() {
            types::PROGRESSING => forecast.end == End::Rests && reason != "Complete",
            types::IN_PLACE_UPDATE_BLOCKED | types::REPLICA_FAILURE | types::CLAIM_RESIZE_BLOCKED => {
                condition.status == "True"
            }
            _ => false,
        };
        let one = Blocked { reason, message: condition.message.clone().unwrap_or_default() };
        if stands && !blocked.contains(&one) {
            blocked.push(one);
        }
    }
    blocked
}

/// Pods that were made under `ReCreate` or by another controller, and are now updated under traffic.
fn without_gate(found: &Found<'_>, pods: &[PodReport]) -> Option<String> {
    const NAMED_MAX: usize = 5;
    let start = found.start;
    let is_without = |name: &str| {
        let verdict = found.explanation.and_then(|explanation| explanation.pods.get(name)).map(|one| &one.verdict);
        let through_gate = matches!(verdict, Some(Verdict::InPlace { pace: Pace::Gate, .. }));
        let facts = start.pods.get(name).or_else(|| start.orphans.get(name));
        through_gate && facts.is_some_and(|pod| pod.gate == Gate::Absent)
    };
    let without: Vec<&str> = pods
        .iter()
        .filter(|pod| pod.action == PodAction::InPlace && is_without(&pod.name))
        .map(|pod| pod.name.as_str())
        .collect();
    let more =
        if without.len() > NAMED_MAX { format!(" and {} more", without.len() - NAMED_MAX) } else { String::new() };
    let gate = names::READINESS_GATE;
    match &without[..] {
        [] => None,
        [one] => {
            Some(format!("{one} has no readiness gate {gate}: it is updated without being taken out of service first"))
        }
        many => Some(format!(
            "{}{more} have no readiness gate {gate}: they are updated without being taken out of service first",
            many[..many.len().min(NAMED_MAX)].join(", ")
        )),
    }
}

fn assumptions(forecast: &Forecast) -> Vec<String> {
    let mut notes = Vec::new();
    if forecast.end == End::CutShort {
        notes.push("there are more waves than are played through here; the Pods left over follow likewise".to_owned());
    }
    if forecast.hooks_answered {
        notes.push("assumed: lifecycle hooks let Pods go, and call them normal, as soon as they are asked".to_owned());
    }
    if forecast.images_pulled {
        notes.push("assumed: the nodes can pull the new images, which they do before any Pod is touched".to_owned());
    }
    notes
}
