//! `rollout pause` and `rollout resume`: `spec.updateStrategy.rollingUpdate.paused`.

use std::io::Write;

use clap::Args;
use kube::api::{Patch, PatchParams};
use serde_json::json;

use crate::api::AdvancedStatefulSet;
use crate::cli::Exit;
use crate::cli::connect::Session;
use crate::cli::error::CliError;
use crate::cli::output::{Format, formatted};
use crate::cli::target::{RESOURCE, Selection, Target};

/// Flags of `rollout pause`.
#[derive(Args, Debug)]
pub struct Pause {
    #[command(flatten)]
    flags: Flags,
}

/// Flags of `rollout resume`.
#[derive(Args, Debug)]
pub struct Resume {
    #[command(flatten)]
    flags: Flags,
}

#[derive(Args, Debug)]
struct Flags {
    #[command(flatten)]
    selection: Selection,
    /// Print the changed objects in this form
    #[arg(short, long, value_enum)]
    output: Option<Format>,
    /// Name under which the fields are owned
    #[arg(long, value_name = "NAME", default_value = "kubectl-asts")]
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
        let turn = Turn { paused: true, done: "paused", already: "is already paused" };
        turn_all(&self.flags, session, &turn).await
    }
}

impl Resume {
    pub(super) async fn run(self, session: &Session) -> Result<Exit, CliError> {
        let turn = Turn { paused: false, done: "resumed", already: "is not paused" };
        turn_all(&self.flags, session, &turn).await
    }
}

async fn turn_all(flags: &Flags, session: &Session, turn: &Turn) -> Result<Exit, CliError> {
    for target in flags.selection.targets(session).await? {
        let set = turn_one(flags, session, &target, turn).await?;
        let line = match flags.output {
            Some(format) => formatted(&serde_json::to_value(&set).unwrap_or_default(), format)?,
            None => format!("{RESOURCE}/{} {}\n", target.name, turn.done),
        };
        std::io::stdout().write_all(line.as_bytes())?;
    }
    Ok(Exit::SUCCESS)
}

async fn turn_one(
    flags: &Flags,
    session: &Session,
    target: &Target,
    turn: &Turn,
) -> Result<AdvancedStatefulSet, CliError> {
    let api = target.api(session);
    let set = api.get(&target.name).await?;
    let strategy = set.spec.update_strategy.as_ref().and_then(|it| it.rolling_update.as_ref());
    if strategy.and_then(|it| it.paused).unwrap_or(false) == turn.paused {
        return Err(CliError::Failed(format!("{RESOURCE} \"{}\" {}", target.name, turn.already)));
    }
    let patch = json!({"spec": {"updateStrategy": {"rollingUpdate": {"paused": turn.paused}}}});
    let parameters = PatchParams { field_manager: Some(flags.field_manager.clone()), ..PatchParams::default() };
    Ok(api.patch(&target.name, &parameters, &Patch::Merge(&patch)).await?)
}
