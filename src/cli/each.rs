//! One verb on many sets.

use super::Exit;
use super::connect::Session;
use super::error::CliError;
use super::target::{Selection, Target};

/// Does the same with every chosen set, in order. What fails for one does not keep the others from it; all failures
/// are told at the end.
pub async fn for_each(
    selection: &Selection,
    session: &Session,
    mut body: impl AsyncFnMut(Target) -> Result<(), CliError>,
) -> Result<Exit, CliError> {
    let targets = selection.targets(session).await?;
    if targets.is_empty() {
        eprintln!("No resources found in {} namespace.", session.namespace);
    }
    let mut failures = Vec::new();
    for target in targets {
        match body(target).await {
            Ok(()) => {}
            // Nobody reads what the others would say.
            Err(error @ CliError::Output(_)) => return Err(error),
            Err(error) => failures.push(error),
        }
    }
    if failures.is_empty() { Ok(Exit::SUCCESS) } else { Err(CliError::Many(failures)) }
}
