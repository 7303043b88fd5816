//! `kubectl asts version`.

use std::io::Write;

use clap::Args;

use super::Exit;
use super::connect::ConnectionFlags;
use super::error::CliError;

/// Flags of `version`.
#[derive(Args, Debug)]
pub struct Version {
    /// Do not ask the cluster
    #[arg(long)]
    client: bool,
}

impl Version {
    pub(super) async fn run(self, connection: &ConnectionFlags) -> Result<Exit, CliError> {
        writeln!(std::io::stdout(), "Plugin Version: {}", env!("CARGO_PKG_VERSION"))?;
        if !self.client {
            let session = connection.session().await?;
            let server = session.client.apiserver_version().await?;
            writeln!(std::io::stdout(), "Server Version: {}", server.git_version)?;
        }
        Ok(Exit::SUCCESS)
    }
}
