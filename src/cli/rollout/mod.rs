//! `kubectl asts rollout`: what `kubectl rollout` does for Deployments and StatefulSets.

mod board;
mod describe;
mod describe_volumes;
mod history;
mod pause;
mod restart;
mod rollback;
mod status;
mod undo;
pub mod verdict;

use clap::Subcommand;

use super::Exit;
use super::connect::ConnectionFlags;
use super::error::CliError;
use super::seen::RevisionSeen;
use crate::api::AdvancedStatefulSet;

/// Under which name kubectl's rollout commands own fields.
const FIELD_MANAGER: &str = "kubectl-rollout";

#[derive(Subcommand, Debug)]
pub enum Verb {
    /// Show the revisions of a set, or the Pod template of one
    History(history::History),
    /// Stop the rollout of a set: no Pod changes its revision until it is resumed
    Pause(pause::Pause),
    /// Start the containers of a set again, Pod by Pod
    Restart(restart::Restart),
    /// Let a paused rollout go on
    Resume(pause::Resume),
    /// Show how far a rollout is, until it is done
    Status(status::Status),
    /// Go back to an earlier revision
    Undo(undo::Undo),
}

impl Verb {
    pub(super) async fn run(self, connection: &ConnectionFlags) -> Result<Exit, CliError> {
        let session = connection.session().await?;
        match self {
            Verb::History(verb) => verb.run(&session).await,
            Verb::Pause(verb) => verb.run(&session).await,
            Verb::Restart(verb) => verb.run(&session).await,
            Verb::Resume(verb) => verb.run(&session).await,
            Verb::Status(verb) => verb.run(&session).await,
            Verb::Undo(verb) => verb.run(&session).await,
        }
    }
}

/// The revision before: the newest that is not what the set asks for now.
pub fn choose_previous<'a>(
    set: &AdvancedStatefulSet,
    revisions: &'a [RevisionSeen],
) -> Result<&'a RevisionSeen, CliError> {
    rollback::choose(set, revisions, 0).map_err(|_| CliError::Failed("there is no earlier revision".into()))
}

fn check_revision(revision: i64) -> Result<(), CliError> {
    if revision < 0 {
        return Err(CliError::Usage(format!("revision must be a positive integer: {revision}")));
    }
    Ok(())
}
