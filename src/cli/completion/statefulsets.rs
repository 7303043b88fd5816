//! Candidates for `adopt`: StatefulSets of both kinds that there are, each with a word for its kind.

use kube::api::ListParams;

use super::wanted::{Asked, Candidate};
use crate::cli::connect::Session;
use crate::cli::error::CliError;
use crate::cli::migrate::kinds::{KRUISE, SetKind, of_word};

/// What stands before a name while no kind is typed.
const WORDS: [&str; 2] = ["statefulset", KRUISE.shown];

/// Asks only for the kinds that the line leaves open.
pub async fn found(asked: &Asked, session: &Session) -> Result<Vec<Candidate>, CliError> {
    let mut candidates = Vec::new();
    for (kind, before) in kinds(asked) {
        let names = match kind.api(session).list_metadata(&ListParams::default()).await {
            Ok(list) => list.items.into_iter().filter_map(|one| one.metadata.name).collect(),
            // Most clusters do not have it.
            Err(_) if kind == KRUISE => Vec::new(),
            Err(error) => return Err(error.into()),
        };
        candidates.extend(names.into_iter().map(|name: String| Candidate::plain(format!("{before}{name}"))));
    }
    Ok(candidates)
}

/// The kinds that may follow, and what stands before a name of each.
fn kinds(asked: &Asked) -> Vec<(SetKind, String)> {
    if let Some((word, _)) = asked.current.split_once('/') {
        return of_word(word)
            .filter(|_| asked.positionals.is_empty())
            .map(|kind| (kind, format!("{word}/")))
            .into_iter()
            .collect();
    }
    match asked.positionals.as_slice() {
        [] => WORDS.into_iter().filter_map(|word| Some((of_word(word)?, format!("{word}/")))).collect(),
        // A kind and a name as two words.
        [word] => of_word(word).map(|kind| (kind, String::new())).into_iter().collect(),
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::wanted::Wanted;
    use super::*;
    use crate::cli::migrate::kinds::NATIVE;

    fn of(positionals: &[&str], current: &str) -> Vec<(SetKind, String)> {
        kinds(&Asked {
            wanted: Wanted::StatefulSets,
            current: current.to_owned(),
            positionals: positionals.iter().map(ToString::to_string).collect(),
            connection: Vec::new(),
        })
    }

    #[test]
    fn the_kinds_follow_from_what_is_typed() {
        let both = vec![(NATIVE, "statefulset/".to_owned()), (KRUISE, "statefulset.apps.kruise.io/".to_owned())];
        assert_eq!(of(&[], ""), both);
        assert_eq!(of(&[], "statef"), both);
        assert_eq!(of(&[], "sts/we"), [(NATIVE, "sts/".to_owned())]);
        assert_eq!(of(&["statefulset"], ""), [(NATIVE, String::new())]);
        assert_eq!(of(&["sts/web"], ""), []);
        assert_eq!(of(&["statefulset", "web"], ""), []);
        assert_eq!(of(&[], "deployment/"), []);
    }
}
