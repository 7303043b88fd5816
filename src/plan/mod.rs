//! Every decision. [`plan`] alone orders them.

pub mod action;
mod adopt;
pub mod build;
mod claims;
mod conditions;
mod draft;
pub mod explain;
mod gates;
mod grow;
mod lifecycle;
pub mod prepull;
pub mod revisions;
mod rollout;
mod scale;
mod status;
mod step;
pub mod view;

#[cfg(test)]
mod tests;

pub use action::{Action, Plan, PlannedEvent, Question};

use conditions::Wanted;
use draft::{Context, Draft};
use revisions::Choice;

use crate::api::names::conditions as types;
use crate::api::{AdvancedStatefulSetStatus, Condition};
use crate::model::{Snapshot, ValidSpec};

/// What is to be done about one set, seen as it is at one moment. The same snapshot gives the
/// same plan.
pub fn plan(snapshot: &Snapshot) -> Plan {
    let made = look(snapshot, |context| {
        let mut draft = Draft::new(context);
        draft.review_ledger(context, rollout::wants_budget(context));
        adopt::adopt_and_release(context, &mut draft);
        claims::upkeep(context, &mut draft);
        scale::scale(context, &mut draft);
        claims::let_go(context, &mut draft);
        grow::upkeep(context, &mut draft);
        rollout::rollout(context, &mut draft);
        prepull::clean(context, &mut draft);
        gates::upkeep(context, &mut draft);
        draft.fence(context);
        lifecycle::report(context, &mut draft);
        finish(context, draft)
    });
    match made {
        Ok(plan) => plan,
        Err(Unclear::Refused { reason, message }) => refuse(snapshot, reason, message),
        Err(Unclear::Terminating) => status_only(snapshot, snapshot.set.status.conditions.clone()),
        Err(Unclear::Ask(questions)) => Plan { questions, ..Plan::default() },
    }
}

/// Why there is nothing to decide on, or not yet.
enum Unclear {
    Refused { reason: &'static str, message: String },
    Terminating,
    Ask(Vec<Question>),
}

/// Sorts out what is seen, and decides something on it.
fn look<R>(snapshot: &Snapshot, decide: impl FnOnce(Context<'_>) -> R) -> Result<R, Unclear> {
    let spec = ValidSpec::parse(&snapshot.set.spec).map_err(|errors| {
        let message = errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ");
        Unclear::Refused { reason: "InvalidSpec", message }
    })?;
    if snapshot.set.terminating {
        return Err(Unclear::Terminating);
    }
    let revisions = match revisions::choose(snapshot, &spec) {
        Choice::Ask(questions) => return Err(Unclear::Ask(questions)),
        Choice::Refused(message) => {
            return Err(Unclear::Refused { reason: "InvalidTemplate", message: message.into() });
        }
        Choice::Found(revisions) => revisions,
    };
    let mut view = view::View::build(snapshot, &spec, &revisions).map_err(Unclear::Ask)?;
    rollout::hold(snapshot, &spec, &revisions.update, &mut view);
    Ok(decide(Context { snapshot, spec: &spec, revisions: &revisions, view: &view }))
}

fn finish(context: Context<'_>, mut draft: Draft) -> Plan {
    if !draft.questions.is_empty() {
        return Plan { questions: draft.questions.into_iter().collect(), ..Plan::default() };
    }
    let status = status::status(context, &mut draft);
    if let Some(message) = &context.revisions.invalid_template {
        draft.warn("InvalidTemplate", "Update", format!("spec.template is refused: {message}"));
    }
    let mut revisions = context.revisions.actions.clone();
    revisions.extend(revisions::trim(context.snapshot, context.spec, context.revisions));
    Plan {
        questions: Vec::new(),
        revisions,
        status_write: status::urgency(&context.snapshot.set.status, &status),
        status,
        actions: if draft.actions.is_empty() { Vec::new() } else { vec![draft.actions] },
        disruptions: draft.disruptions,
        events: draft.events,
        wake_at: draft.wake_at,
    }
}

/// A set that cannot be acted on: a condition, an event, and its Pods are left as they are.
fn refuse(snapshot: &Snapshot, reason: &'static str, message: String) -> Plan {
    let wanted = [
        Wanted { type_: types::REPLICA_FAILURE, status: true, reason, message: message.clone() },
        Wanted { type_: types::PROGRESSING, status: false, reason, message: message.clone() },
    ];
    let mut plan = status_only(snapshot, conditions::merge(snapshot, &wanted));
    plan.events.push(PlannedEvent { warning: true, reason, action: "Validate", message });
    plan
}

/// Counts and conditions, nothing else.
fn status_only(snapshot: &Snapshot, conditions: Vec<Condition>) -> Plan {
    let count = |wanted: &dyn Fn(&crate::model::PodFacts) -> bool| {
        i32::try_from(snapshot.pods.values().filter(|pod| wanted(pod)).count()).unwrap_or(i32::MAX)
    };
    let stored = &snapshot.set.status;
    let status = AdvancedStatefulSetStatus {
        observed_generation: Some(snapshot.set.generation),
        replicas: count(&|_| true),
        ready_replicas: count(&|pod| pod.is_ready()),
        available_replicas: count(&|pod| pod.is_ready()).min(stored.available_replicas),
        conditions,
        ..(**stored).clone()
    };
    let status_write = status::urgency(stored, &status);
    Plan { status, status_write, ..Plan::default() }
}
