//! `kubectl asts release`: the way back. The Pods of an AdvancedStatefulSet go to a native StatefulSet of the same name, with
//! none of them restarted.
//!
//! A native set takes any Pod that matches, and re-creates those whose label is not the name of its newest revision. So it
//! is made with `OnDelete`, the Pods are relabelled when it has them, and only then it gets its strategy.

mod checks;
mod history;
mod native;
mod steps;

use clap::Args;

use self::steps::{Loss, Work};
use super::Exit;
use super::adopt::{DryRun, Flags};
use super::connect::ConnectionFlags;
use super::error::CliError;
use super::migrate::findings::Force;
use super::migrate::give_up;
use super::migrate::kinds::{NATIVE, OURS};
use super::migrate::moving::Moving;
use super::migrate::patience::Patience;
use super::migrate::progress;
use super::migrate::record;
use super::migrate::stage::Stage;
use super::migrate::surroundings;
use super::output::say;
use super::target::parse_name;

/// Flags of `release`.
#[derive(Args, Debug)]
#[command(after_help = "\
Not one Pod is restarted. Set, Pods, claims and what speaks of them are looked at first, and what stands in the way is
named. Ended half way, the same command goes on where it was.

Examples:
  # Look at everything and change nothing
  kubectl asts release web --dry-run
  # Give the Pods of the set web to a native StatefulSet
  kubectl asts release web
  # Also when it loses fields that a native StatefulSet does not have
  kubectl asts release web --drop-fields")]
pub struct Release {
    /// The set: NAME, asts/NAME
    #[arg(value_name = "NAME")]
    name: String,
    #[command(flatten)]
    flags: Flags,
    /// Leave out fields that a native StatefulSet does not have
    #[arg(long)]
    drop_fields: bool,
}

impl Release {
    pub(super) async fn run(self, connection: &ConnectionFlags) -> Result<Exit, CliError> {
        let name = parse_name(&self.name)?;
        let session = connection.session().await?;
        let moving = Moving::new(session, name, (OURS, NATIVE), Patience::of(self.flags.timeout));
        let loss = if self.drop_fields { Loss::Accepted } else { Loss::Refused };
        let work = Work { moving, loss };
        work.moving.patience.bound(self.carried_out(&work)).await
    }

    async fn carried_out(&self, work: &Work) -> Result<Exit, CliError> {
        let moving = &work.moving;
        let (sets, done) = match moving.stage::<record::Release>().await? {
            Stage::Done => {
                say(&format!("{} is there, and nothing is left to be released", moving.new_shown()));
                return Ok(Exit::SUCCESS);
            }
            Stage::Fresh(old) => (Some((old, None)), "nothing was done"),
            Stage::Begun { old, new, .. } => (Some((old, Some(new))), "nothing more was done"),
            Stage::Alone { .. } => (None, ""),
        };
        if sets.as_ref().is_none_or(|(_, taker)| taker.is_some()) {
            say(&format!("the release of {} was begun before and goes on", moving.old_shown()));
        }
        if let Some((old, taker)) = sets {
            let findings = checks::look(work, &old, taker.as_deref()).await?;
            findings.0.iter().for_each(|finding| say(&finding.to_string()));
            if let Some(obstacle) = findings.obstacle(Force::from(self.flags.force), done) {
                give_up::hint::<record::Release>(moving).await;
                return Err(CliError::Failed(obstacle));
            }
        }
        if self.flags.dry_run != DryRun::None {
            say("would do (dry run):");
            let done = work.steps_done().await?;
            progress::told(&steps::DESCRIPTIONS, done).iter().for_each(|step| say(step));
            return Ok(Exit::SUCCESS);
        }
        let new = match work.run().await {
            Ok(new) => new,
            Err(error) => {
                give_up::hint::<record::Release>(moving).await;
                return Err(error);
            }
        };
        say(&format!("{} released", moving.old_shown()));
        for hint in surroundings::autoscalers(&moving.session, &new, (OURS, NATIVE)).await? {
            say(&format!("next: {hint}"));
        }
        Ok(Exit::SUCCESS)
    }
}
