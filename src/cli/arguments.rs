//! What is typed: one definition, from which help, completion and the reference page are made.

use clap::{Parser, Subcommand};

use super::connect::ConnectionFlags;
use super::error::CliError;
use super::{Exit, adopt, completion, convert, diff, events, get, plan, release, rollout, version};

/// See and steer AdvancedStatefulSets: stateful Pods that are updated in place.
#[derive(Parser, Debug)]
#[command(name = "kubectl-asts", bin_name = "kubectl asts", version, max_term_width = 100)]
#[command(disable_help_subcommand = true, args_override_self = true)]
pub struct Arguments {
    #[command(flatten)]
    pub connection: ConnectionFlags,
    #[command(subcommand)]
    pub verb: Verb,
}

#[derive(Subcommand, Debug)]
pub enum Verb {
    /// Show what a change would do to a set and its Pods, before it is made
    Plan(Box<plan::PlanFlags>),
    /// Print what a shell needs to complete this plugin's words
    Completion(completion::Completion),
    /// Show what changed between two revisions of a set
    Diff(diff::Diff),
    /// Show the events of a set, its Pods, claims and revisions, in order
    Events(events::Events),
    /// Show a set with its revisions and Pods as a tree, also as it changes
    Get(get::Get),
    /// Manage the rollout of sets, as kubectl rollout does for Deployments
    #[command(subcommand)]
    Rollout(rollout::Verb),
    /// Turn manifests of StatefulSets, native or of OpenKruise, into AdvancedStatefulSets
    Convert(convert::Convert),
    /// Take over a running StatefulSet, with no Pod restarted
    Adopt(adopt::Adopt),
    /// Give the Pods of a set back to a native StatefulSet, with none restarted
    Release(release::Release),
    /// Print the version of this plugin, and of the managers that are found
    Version(version::Version),
}

impl Verb {
    pub(super) async fn run(self, connection: &ConnectionFlags) -> Result<Exit, CliError> {
        match self {
            Verb::Plan(verb) => verb.run(connection).await,
            Verb::Completion(verb) => verb.run(),
            Verb::Diff(verb) => verb.run(connection).await,
            Verb::Events(verb) => verb.run(connection).await,
            Verb::Get(verb) => verb.run(connection).await,
            Verb::Rollout(verb) => verb.run(connection).await,
            Verb::Convert(verb) => verb.run().await,
            Verb::Adopt(verb) => verb.run(connection).await,
            Verb::Release(verb) => verb.run(connection).await,
            Verb::Version(verb) => verb.run(connection).await,
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_definition_is_consistent() {
        Arguments::command().debug_assert();
    }
}
