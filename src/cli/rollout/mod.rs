//! `kubectl asts rollout`: what `kubectl rollout` does for Deployments.

mod pause;

use clap::Subcommand;

use super::Exit;
use super::connect::ConnectionFlags;
use super::error::CliError;

#[derive(Subcommand, Debug)]
pub enum Verb {
    /// Stop the rollout of a set: no Pod changes its revision until it is resumed
    Pause(pause::Pause),
    /// Let a paused rollout go on
    Resume(pause::Resume),
}

impl Verb {
    pub(super) async fn run(self, connection: &ConnectionFlags) -> Result<Exit, CliError> {
        let session = connection.session().await?;
        match self {
            Verb::Pause(verb) => verb.run(&session).await,
            Verb::Resume(verb) => verb.run(&session).await,
        }
    }
}
