//! How far a hand-over is, from nothing but the two sets.

use kube::api::DynamicObject;

use super::facts::{is_terminating, uid};
use super::kinds::SetKind;
use super::record::{Adoption, Record, Release, read};

#[derive(Clone, Debug, PartialEq)]
pub enum Stage<R> {
    /// Nothing is done.
    Fresh(Box<DynamicObject>),
    /// The new set is made, and the old one is there.
    Begun { old: Box<DynamicObject>, new: Box<DynamicObject>, record: R },
    /// The old set is deleted, or is about to go.
    Alone { new: Box<DynamicObject>, record: R },
    /// There is the new set alone, and nothing to go on with.
    Done,
}

/// Why it cannot be gone on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stop {
    /// There is neither.
    NotFound,
    Said(String),
}

/// What follows from the sets as they are.
pub fn of<R: Record>(
    (from, to): (SetKind, SetKind),
    old: Option<DynamicObject>,
    new: Option<DynamicObject>,
) -> Result<Stage<R>, Stop> {
    let said = |text: String| Err(Stop::Said(text));
    if let Some(new) = new.as_ref().filter(|new| is_terminating(&new.metadata)) {
        return said(format!("{}/{} is being deleted", to.shown, named(new)));
    }
    let record: Option<R> = new.as_ref().and_then(read);
    match (old, new, record) {
        (None, None, _) => Err(Stop::NotFound),
        (None, Some(_), None) => Ok(Stage::Done),
        (Some(old), None, _) if is_terminating(&old.metadata) => {
            said(format!("{}/{} is being deleted", from.shown, named(&old)))
        }
        (Some(old), None, _) => Ok(Stage::Fresh(Box::new(old))),
        (Some(old), Some(_), None) if takes_over(&old) => said(format!(
            "{}/{name} is taking over from {}/{name}: call that command again to end it, or give it up first",
            from.shown,
            to.shown,
            name = named(&old)
        )),
        (Some(_), Some(new), None) => said(format!(
            "{}/{} exists already, and was not made for this: the Pods cannot go to it. If nobody needs it, delete it with \
             --cascade=orphan",
            to.shown,
            named(&new)
        )),
        (_, Some(new), Some(record)) if record.giver().from != from.shown => {
            said(format!("{}/{} takes over from {}: end that first", to.shown, named(&new), record.giver().from))
        }
        (Some(old), Some(new), Some(record)) if uid(&old.metadata) != record.giver().uid => {
            let told = format!(
                "{}/{name} was deleted for {}/{name}, and another was made since then (UID {}): keep whoever made it \
                 from making it again, delete it with --cascade=orphan, and call again",
                from.shown,
                to.shown,
                uid(&old.metadata),
                name = named(&new),
            );
            said(told)
        }
        (Some(old), Some(new), Some(record)) if !is_terminating(&old.metadata) => {
            Ok(Stage::Begun { old: Box::new(old), new: Box::new(new), record })
        }
        (_, Some(new), Some(record)) => Ok(Stage::Alone { new: Box::new(new), record }),
    }
}

/// A hand-over the other way is under way.
fn takes_over(set: &DynamicObject) -> bool {
    let annotations = set.metadata.annotations.as_ref();
    [Adoption::ANNOTATION, Release::ANNOTATION].iter().any(|key| annotations.is_some_and(|all| all.contains_key(*key)))
}

fn named(object: &DynamicObject) -> &str {
    object.metadata.name.as_deref().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::cli::migrate::kinds::{KRUISE, NATIVE, OURS};
    use crate::cli::migrate::record::Giver;

    fn object(metadata: Value) -> DynamicObject {
        serde_json::from_value(json!({"metadata": metadata})).unwrap()
    }

    fn old(uid: &str) -> DynamicObject {
        object(json!({"name": "web", "uid": uid}))
    }

    fn new(record: Option<&Adoption>) -> DynamicObject {
        let text = record.map(|record| serde_json::to_string(record).unwrap());
        object(json!({"name": "web", "uid": "new", "annotations": {Adoption::ANNOTATION: text.unwrap_or_default()}}))
    }

    fn record() -> Adoption {
        let giver = Giver { from: "statefulset.apps".into(), uid: "old".into(), spec: "h".into() };
        Adoption { giver, resume: true, complete: true }
    }

    fn going(mut object: DynamicObject) -> DynamicObject {
        object.metadata.deletion_timestamp = serde_json::from_value(json!("2026-01-01T00:00:00Z")).unwrap();
        object
    }

    #[test]
    fn the_two_sets_tell_how_far_it_is() {
        let of = |old, new| super::of::<Adoption>((NATIVE, OURS), old, new).unwrap();
        assert_eq!(of(Some(old("old")), None), Stage::Fresh(Box::new(old("old"))));
        let begun = of(Some(old("old")), Some(new(Some(&record()))));
        assert!(matches!(begun, Stage::Begun { .. }), "{begun:?}");
        for gone in [None, Some(going(old("old")))] {
            let alone = of(gone, Some(new(Some(&record()))));
            assert!(matches!(alone, Stage::Alone { .. }), "{alone:?}");
        }
        assert_eq!(of(None, Some(new(None))), Stage::Done);
    }

    #[test]
    fn what_is_not_ours_to_go_on_with_is_refused() {
        let stop = |kind, old, new| match super::of::<Adoption>((kind, OURS), old, new).unwrap_err() {
            Stop::Said(text) => text,
            Stop::NotFound => "not found".to_owned(),
        };
        assert_eq!(stop(NATIVE, None, None), "not found");
        assert!(stop(NATIVE, Some(old("old")), Some(new(None))).contains("exists already"));
        let mut taking = old("old");
        taking.metadata.annotations = Some([(Release::ANNOTATION.to_owned(), String::new())].into());
        assert!(stop(NATIVE, Some(taking), Some(new(None))).contains("is taking over from"));
        assert!(stop(NATIVE, Some(old("other")), Some(new(Some(&record())))).contains("another was made"));
        assert!(stop(KRUISE, None, Some(new(Some(&record())))).contains("takes over from statefulset.apps"));
        assert!(stop(NATIVE, Some(going(old("old"))), None).contains("is being deleted"));
        assert!(stop(NATIVE, None, Some(going(new(Some(&record()))))).contains("is being deleted"));
    }
}
