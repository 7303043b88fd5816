//! `rollout pause` and `rollout resume`: `spec.updateStrategy.rollingUpdate.paused`.

use clap::Args;
use kube::api::{Patch, PatchParams};
use serde_json::json;

use super::verdict::is_paused;
use crate::api::AdvancedStatefulSet;
use crate::api::spec::UpdateStrategyType;
use crate::cli::Exit;
use crate::cli::connect::Session;
use crate::cli::each::for_each;
use crate::cli::error::CliError;
use crate::cli::print::{PrintFlags, Printer};
use crate::cli::target::{Selection, Target};

/// Flags of `rollout pause`.
#[derive(Args, Debug)]
#[command(after_help = "\
A set whose update strategy is OnDelete has no rollout that could be paused, and is refused.

Examples:
  # No Pod of the set changes its revision any more; repair and scaling go on
  kubectl asts rollout pause web")]
pub struct Pause {
    #[command(flatten)]
    flags: Flags,
}

/// Flags of `rollout resume`.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  # Let a paused rollout go on
  kubectl asts rollout resume web")]
pub struct Resume {
    #[command(flatten)]
    flags: Flags,
}

#[derive(Args, Debug)]
struct Flags {
    #[command(flatten)]
    selection: Selection,
    #[command(flatten)]
    print: PrintFlags,
    /// Name under which the fields are owned
    #[arg(long, value_name = "NAME", default_value = super::FIELD_MANAGER)]
    field_manager: String,
}

/// What a set is to become, with the words for it.
struct Turn {
    paused: bool,
    done: &'static str,
    already: &'static str,
}

impl Pause {
    pub(super) async fn run(self, session: &Session) -> Result<Exit, CliError> {
        turn_all(&self.flags, session, &Turn { paused: true, done: "paused", already: "is already paused" }).await
    }
}

impl Resume {
    pub(super) async fn run(self, session: &Session) -> Result<Exit, CliError> {
        turn_all(&self.flags, session, &Turn { paused: false, done: "resumed", already: "is not paused" }).await
    }
}

async fn turn_all(flags: &Flags, session: &Session, turn: &Turn) -> Result<Exit, CliError> {
    let mut printer = flags.print.printer()?;
    for_each(&flags.selection, session, async |target| turn_one(flags, session, &target, turn, &mut printer).await)
        .await
}

async fn turn_one(
    flags: &Flags,
    session: &Session,
    target: &Target,
    turn: &Turn,
    printer: &mut Printer,
) -> Result<(), CliError> {
    let set = target.api(session).get(&target.name).await?;
    if is_paused(&set) == turn.paused {
        return Err(CliError::Failed(format!("{} {}", target.in_errors(), turn.already)));
    }
    if turn.paused && is_on_delete(&set) {
        let why = "its update strategy is OnDelete: each Pod is updated when it is deleted, and none before";
        return Err(CliError::Failed(format!("{} cannot be paused: {why}", target.in_errors())));
    }
    let patch = json!({"spec": {"updateStrategy": {"rollingUpdate": {"paused": turn.paused}}}});
    let parameters = PatchParams { field_manager: Some(flags.field_manager.clone()), ..PatchParams::default() };
    let turned = target.raw_api(session).patch(&target.name, &parameters, &Patch::Merge(&patch)).await?;
    printer.print(&serde_json::to_value(&turned).unwrap_or_default(), turn.done)
}

fn is_on_delete(set: &AdvancedStatefulSet) -> bool {
    let strategy = set.spec.update_strategy.as_ref().and_then(|strategy| strategy.type_);
    strategy.is_some_and(|type_| type_ == UpdateStrategyType::OnDelete)
}
