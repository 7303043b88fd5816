//! `kubectl asts adopt`: a running StatefulSet, native or of OpenKruise, gives its Pods to an AdvancedStatefulSet of the same
//! name, with none of them restarted.
//!
//! The new set is made first, paused; the old one is deleted with its Pods left; the manager takes them; when all count as
//! up to date the pause is lifted. All that a later call has to know is in an annotation of the new set.

mod checks;
mod steps;

use std::time::Duration;

use clap::Args;

use self::steps::Work;
use super::Exit;
use super::connect::ConnectionFlags;
use super::convert::PolicyFlag;
use super::error::CliError;
use super::migrate::findings::Force;
use super::migrate::give_up;
use super::migrate::kinds::{self, OURS};
use super::migrate::manager::LeaseFlags;
use super::migrate::moving::Moving;
use super::migrate::patience::Patience;
use super::migrate::progress;
use super::migrate::record::Adoption;
use super::migrate::stage::Stage;
use super::migrate::surroundings;
use super::output::say;

/// Flags of `adopt`.
#[derive(Args, Debug)]
#[command(after_help = "\
Not one Pod is restarted. Set, Pods, claims and what speaks of them are looked at first, and what stands in the way is
named. Ended half way, the same command goes on where it was.

Examples:
  # Look at everything and change nothing
  kubectl asts adopt statefulset/web --dry-run
  # Take the Pods of the StatefulSet web
  kubectl asts adopt statefulset/web
  # The same of OpenKruise's
  kubectl asts adopt statefulset.apps.kruise.io/web
  # Have Pods updated in place from then on
  kubectl asts adopt statefulset/web --pod-update-policy InPlaceIfPossible")]
pub struct Adopt {
    /// The StatefulSet: statefulset/NAME, statefulset.apps.kruise.io/NAME
    #[arg(value_name = "TYPE/NAME", required = true)]
    names: Vec<String>,
    #[command(flatten)]
    flags: Flags,
    #[command(flatten)]
    policy: PolicyFlag,
    #[command(flatten)]
    lease: LeaseFlags,
}

/// Flags that `adopt` and `release` have both.
#[derive(Args, Clone, Debug)]
pub struct Flags {
    /// Look at everything, say what would be done, and change nothing
    #[arg(long, value_enum, value_name = "WHERE", num_args = 0..=1, require_equals = true,
        default_value = "none", default_missing_value = "server")]
    pub dry_run: DryRun,
    /// How long all of it may take, such as 90s; 0 waits for ever
    #[arg(long, value_name = "TIME", default_value = "5m", value_parser = crate::duration::parse)]
    pub timeout: Duration,
    /// Go on in spite of doubts: an owner, a rollout under way, Pods or claims that are missing
    #[arg(long)]
    pub force: bool,
}

/// `--dry-run`, with the words that kubectl has for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum DryRun {
    None,
    Client,
    Server,
}

impl Adopt {
    pub(super) async fn run(self, connection: &ConnectionFlags) -> Result<Exit, CliError> {
        let (kind, name) = kinds::parse(&self.names)?;
        let session = connection.session().await?;
        let moving = Moving::new(session, name, (kind, OURS), Patience::of(self.flags.timeout));
        let force = Force::from(self.flags.force);
        let work = Work { moving, policy: self.policy.policy.map(Into::into), force };
        work.moving.patience.bound(self.carried_out(&work)).await
    }

    async fn carried_out(&self, work: &Work) -> Result<Exit, CliError> {
        let moving = &work.moving;
        let (sets, done) = match moving.stage::<Adoption>().await? {
            Stage::Done => {
                say(&format!("{} is there, and nothing is left to be adopted", moving.new_shown()));
                return Ok(Exit::SUCCESS);
            }
            Stage::Fresh(old) => (Some((old, None)), "nothing was done"),
            Stage::Begun { old, new, .. } => (Some((old, Some(new))), "nothing more was done"),
            Stage::Alone { .. } => (None, ""),
        };
        if sets.as_ref().is_none_or(|(_, taker)| taker.is_some()) {
            say(&format!("the adoption of {} was begun before and goes on", moving.old_shown()));
        }
        if let Some((old, taker)) = sets {
            let findings = checks::look(work, &old, taker.as_deref(), &self.lease).await?;
            findings.0.iter().for_each(|finding| say(&finding.to_string()));
            if let Some(obstacle) = findings.obstacle(work.force, done) {
                give_up::hint::<Adoption>(moving).await;
                return Err(CliError::Failed(obstacle));
            }
        }
        if self.flags.dry_run != DryRun::None {
            say("would do (dry run):");
            let done = progress::steps_done::<Adoption>(moving).await?;
            progress::told(&steps::DESCRIPTIONS, done).iter().for_each(|step| say(step));
            return Ok(Exit::SUCCESS);
        }
        let new = match work.run().await {
            Ok(new) => new,
            Err(error) => {
                give_up::hint::<Adoption>(moving).await;
                return Err(error);
            }
        };
        say(&format!("{} adopted", moving.old_shown()));
        say("next: kubectl asts convert -f FILE turns your manifests, so that nobody makes the StatefulSet again");
        for hint in surroundings::autoscalers(&moving.session, &new, (moving.from, OURS)).await? {
            say(&format!("next: {hint}"));
        }
        Ok(Exit::SUCCESS)
    }
}
