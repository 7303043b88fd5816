//! How far a hand-over is, by reads alone: for a dry run of one that was begun.

use super::claims::{self, is_owned_by};
use super::facts::{self, is_observed, uid};
use super::moving::Moving;
use super::patience::Look;
use super::record::Record;
use super::retention;
use super::stage::Stage;
use crate::cli::error::CliError;

/// How many of the first five steps are done.
pub async fn steps_done<R: Record>(moving: &Moving) -> Result<usize, CliError> {
    let giver = match moving.stage::<R>().await? {
        Stage::Fresh(_) | Stage::Done => return Ok(0),
        Stage::Alone { record, .. } => record.giver().uid.clone(),
        Stage::Begun { old, new, .. } => {
            if !is_observed(&new) || facts::text(&new, "/status/updateRevision").is_none() {
                return Ok(1);
            }
            let held =
                claims::of_own_pods(moving, &old).await?.iter().any(|claim| is_owned_by(claim, uid(&old.metadata)));
            return Ok(if held || retention::deletes_claims(&old) { 2 } else { 3 });
        }
    };
    if moving.old.get_opt(&moving.name).await?.is_some_and(|old| uid(&old.metadata) == giver) {
        return Ok(3);
    }
    Ok(if matches!(moving.look_for_orphans::<R>().await?, Look::Done(_)) { 5 } else { 4 })
}

/// The steps as a dry run tells them: numbered, and which of them are done.
pub fn told(steps: &[&str], done: usize) -> Vec<String> {
    let line = |(index, step): (usize, &&str)| {
        let mark = if index < done { "done: " } else { "" };
        format!("{}/{}   {mark}{step}", index + 1, steps.len())
    };
    steps.iter().enumerate().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn done_steps_are_marked() {
        assert_eq!(told(&["make", "wait"], 1), ["1/2   done: make", "2/2   wait"]);
    }
}
