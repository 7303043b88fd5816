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

use self::steps::Work;
use super::Exit;
use super::adopt::{DryRun, Flags};
use super::connect::ConnectionFlags;
use super::error::CliError;
use super::migrate::findings::Force;
use super::migrate::kinds::{NATIVE, OURS};
use super::migrate::moving::Moving;
use super::migrate::patience::Patience;
use super::migrate::record;
use super::migrate::stage::Stage;
use super::migrate::surroundings;
use super::output::say;
use super::target::parse_name;

/// Flags of `release`.
#[derive(Args, Debug)]
#[command(after_help = "\
Not one Pod is restarted. Ended half way, the same command goes on where it was.

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
        let work = Work { moving };
        match work.moving.stage::<record::Release>().await? {
            Stage::Done => {
                say(&format!("{} is there, and nothing is left to be released", work.moving.new_shown()));
                return Ok(Exit::SUCCESS);
            }
            Stage::Fresh(old) => {
                let loss = if self.drop_fields { checks::Loss::Accepted } else { checks::Loss::Refused };
                let findings = checks::look(&work, &old, loss).await?;
                findings.0.iter().for_each(|finding| say(&finding.to_string()));
                if let Some(obstacle) = findings.obstacle(Force::from(self.flags.force)) {
                    return Err(CliError::Failed(obstacle));
                }
            }
            Stage::Begun { .. } | Stage::Alone { .. } => {
                say(&format!("the release of {} was begun before and goes on", work.moving.old_shown()));
            }
        }
        if self.flags.dry_run != DryRun::None {
            say("would do (dry run):");
            steps::DESCRIPTIONS.iter().for_each(|step| say(step));
            return Ok(Exit::SUCCESS);
        }
        let new = work.run().await?;
        say(&format!("{} released", work.moving.old_shown()));
        for hint in surroundings::autoscalers(&work.moving.session, &new, (OURS, NATIVE)).await? {
            say(&format!("next: {hint}"));
        }
        Ok(Exit::SUCCESS)
    }
}
