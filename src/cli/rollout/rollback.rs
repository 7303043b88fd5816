//! What going back to a revision changes in a set. Values only.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use crate::api::AdvancedStatefulSet;
use crate::cli::seen::RevisionSeen;
use crate::inplace::diff::differences;
use crate::inplace::quantity::quantity_bytes;

/// A way back.
#[derive(Clone, Debug, PartialEq)]
pub struct Rollback {
    /// The revision's number.
    pub to: i64,
    pub template: Value,
    /// The claim templates as they will be; `None`: as they are.
    pub claims: Option<Vec<Value>>,
    /// The set is there already.
    pub is_there: bool,
    /// Claim templates that keep a size which the revision had smaller, in words.
    pub kept_sizes: Vec<String>,
}

/// Why there is no way back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NoWay {
    NotFound(i64),
    NothingBefore,
    /// Claim templates that the revision had, of which no more than the name is known.
    UnknownClaims(Vec<String>),
}

impl std::fmt::Display for NoWay {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            NoWay::NotFound(number) => write!(formatter, "unable to find specified revision {number} in history"),
            NoWay::NothingBefore => write!(formatter, "no last revision to roll back to"),
            NoWay::UnknownClaims(names) => write!(
                formatter,
                "the revision had claim templates of which only the names are known, and no claim of them is left: add {} to spec.volumeClaimTemplates, then roll back",
                names.join(", ")
            ),
        }
    }
}

/// The revision to go back to: the one with this number, or for 0 the newest that is not what the set asks for now.
pub fn choose<'a>(
    set: &AdvancedStatefulSet,
    revisions: &'a [RevisionSeen],
    to: i64,
) -> Result<&'a RevisionSeen, NoWay> {
    match to {
        0 => revisions.iter().rev().find(|one| !matches(set, one)).ok_or(NoWay::NothingBefore),
        number => revisions.iter().find(|one| one.facts.number == number).ok_or(NoWay::NotFound(number)),
    }
}

/// The claim templates that the revision has and the set has not.
pub fn missing_claims(set: &AdvancedStatefulSet, revision: &RevisionSeen) -> Vec<String> {
    let present = claim_names(set);
    let recorded = revision.facts.claim_names().unwrap_or_default();
    recorded.iter().filter(|name| !present.contains(&&***name)).map(ToString::to_string).collect()
}

/// What is to be changed. `found` has a template, as its claims show it, for those that are missing.
pub fn rollback(
    set: &AdvancedStatefulSet,
    revision: &RevisionSeen,
    found: &BTreeMap<String, Value>,
) -> Result<Rollback, NoWay> {
    let missing = missing_claims(set, revision);
    let unknown: Vec<String> = missing.iter().filter(|name| !found.contains_key(*name)).cloned().collect();
    if !unknown.is_empty() {
        return Err(NoWay::UnknownClaims(unknown));
    }
    let same_claims = has_same_claims(set, revision);
    let claims = (!same_claims).then(|| {
        let recorded = revision.facts.claim_names().unwrap_or_default();
        let kept = present_claims(set).filter(|claim| recorded.iter().any(|name| Some(&**name) == name_of(claim)));
        kept.cloned().chain(missing.iter().filter_map(|name| found.get(name).cloned())).collect()
    });
    Ok(Rollback {
        to: revision.facts.number,
        template: revision.facts.template(),
        claims,
        is_there: matches(set, revision),
        kept_sizes: kept_sizes(set, revision),
    })
}

/// A merge patch that makes the set so, if nobody changed it since.
pub fn patch(set: &AdvancedStatefulSet, rollback: &Rollback) -> Value {
    let mut spec = Map::new();
    spec.insert("template".into(), merge_patch(&set.spec.template.0, &rollback.template));
    if let Some(claims) = &rollback.claims {
        let list = if claims.is_empty() { Value::Null } else { Value::Array(claims.clone()) };
        spec.insert("volumeClaimTemplates".into(), list);
    }
    json!({"metadata": {"resourceVersion": set.metadata.resource_version}, "spec": spec})
}

/// The merge patch that turns one value into another.
fn merge_patch(old: &Value, new: &Value) -> Value {
    let (Value::Object(old), Value::Object(new)) = (old, new) else { return new.clone() };
    let gone = old.keys().filter(|key| !new.contains_key(*key)).map(|key| (key.clone(), Value::Null));
    let changed = new.iter().filter(|(key, value)| old.get(*key) != Some(*value));
    let changed = changed.map(|(key, value)| (key.clone(), merge_patch(old.get(key).unwrap_or(&Value::Null), value)));
    Value::Object(gone.chain(changed).collect())
}

/// A claim template that makes such claims as these, the largest of them for the size.
pub fn template_of_claims(name: &str, claims: &[Value], recorded_size: Option<&Value>) -> Option<Value> {
    let first = claims.first()?;
    let size = |claim: &Value| claim.pointer("/spec/resources/requests/storage").cloned();
    let sizes = claims.iter().filter_map(size).chain(recorded_size.cloned());
    let largest = sizes.max_by_key(quantity_bytes)?;
    let mut spec = Map::new();
    for key in ["accessModes", "storageClassName", "volumeMode"] {
        if let Some(value) = first.get("spec").and_then(|spec| spec.get(key)) {
            spec.insert(key.into(), value.clone());
        }
    }
    spec.insert("resources".into(), json!({"requests": {"storage": largest}}));
    Some(json!({"metadata": {"name": name}, "spec": spec}))
}

fn present_claims(set: &AdvancedStatefulSet) -> impl Iterator<Item = &Value> {
    set.spec.volume_claim_templates.iter().flatten().map(|claim| &claim.0)
}

fn name_of(claim: &Value) -> Option<&str> {
    claim.pointer("/metadata/name")?.as_str()
}

fn claim_names(set: &AdvancedStatefulSet) -> Vec<&str> {
    present_claims(set).filter_map(name_of).collect()
}

/// A revision that does not say which claim templates it had goes with any.
fn has_same_claims(set: &AdvancedStatefulSet, revision: &RevisionSeen) -> bool {
    let present = claim_names(set);
    revision.facts.claim_names().is_none_or(|recorded| {
        recorded.len() == present.len() && recorded.iter().all(|name| present.contains(&&**name))
    })
}

fn matches(set: &AdvancedStatefulSet, revision: &RevisionSeen) -> bool {
    has_same_claims(set, revision) && differences(&revision.facts.template(), &set.spec.template.0).is_empty()
}

fn kept_sizes(set: &AdvancedStatefulSet, revision: &RevisionSeen) -> Vec<String> {
    let recorded = revision.facts.claim_sizes().unwrap_or_default();
    let kept = |claim: &Value| {
        let (name, present) = (name_of(claim)?, claim.pointer("/spec/resources/requests/storage")?);
        let before = recorded.get(name)?;
        let shown = |size: &Value| size.as_str().map_or_else(|| size.to_string(), str::to_owned);
        (quantity_bytes(before) < quantity_bytes(present))
            .then(|| format!("{name} stays at {}, it had {}", shown(present), shown(before)))
    };
    present_claims(set).filter_map(kept).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(template: Value, claims: Value) -> AdvancedStatefulSet {
        serde_json::from_value(json!({
            "apiVersion": "apps.asts.dev/v1beta1", "kind": "AdvancedStatefulSet",
            "metadata": {"name": "web", "resourceVersion": "7"},
            "spec": {"selector": {}, "template": template, "volumeClaimTemplates": claims},
        }))
        .unwrap()
    }

    fn revision(number: i64, template: Value, claims: Value) -> RevisionSeen {
        serde_json::from_value(json!({
            "metadata": {"name": format!("web-{number}")}, "revision": number,
            "data": {"spec": {"template": template, "volumeClaimTemplates": claims}},
        }))
        .unwrap()
    }

    fn app(image: &str) -> Value {
        json!({"spec": {"containers": [{"name": "app", "image": image}]}})
    }

    fn claim(name: &str, size: &str) -> Value {
        json!({"metadata": {"name": name}, "spec": {"resources": {"requests": {"storage": size}}}})
    }

    #[test]
    fn zero_is_the_newest_that_differs() {
        let history = [revision(1, app("v1"), json!([])), revision(2, app("v2"), json!([]))];
        let number = |image, to| choose(&set(app(image), json!([])), &history, to).map(|one| one.facts.number);
        assert_eq!(number("v2", 0), Ok(1));
        assert_eq!(number("docker.io/library/v2", 0), Ok(1), "the same image by another name");
        assert_eq!(number("v1", 0), Ok(2), "gone back already, and not renumbered yet");
        assert_eq!(number("v3", 0), Ok(2), "the manager has not seen it yet");
        assert_eq!(number("v3", 1), Ok(1));
        assert_eq!(number("v3", 9), Err(NoWay::NotFound(9)));
        let alone = [revision(1, app("v1"), json!([]))];
        assert_eq!(choose(&set(app("v1"), json!([])), &alone, 0).err(), Some(NoWay::NothingBefore));
    }

    #[test]
    fn the_patch_takes_away_what_the_revision_had_not() {
        let mut present = app("v2");
        present["metadata"] = json!({"annotations": {"a": "1"}});
        let set = set(present, json!([]));
        let back = rollback(&set, &revision(1, app("v1"), json!([])), &BTreeMap::new()).unwrap();
        let patch = patch(&set, &back);
        assert_eq!(patch["metadata"]["resourceVersion"], "7");
        assert_eq!(patch["spec"], json!({"template": {"metadata": null, "spec": app("v1")["spec"]}}));
    }

    #[test]
    fn claims_are_never_shrunk() {
        let set = set(app("v2"), json!([claim("data", "2Gi")]));
        let back = rollback(&set, &revision(1, app("v1"), json!([claim("data", "1Gi")])), &BTreeMap::new()).unwrap();
        assert_eq!(back.claims, None);
        assert_eq!(back.kept_sizes, ["data stays at 2Gi, it had 1Gi"]);
    }

    #[test]
    fn claim_templates_come_and_go_by_name() {
        let set = set(app("v1"), json!([claim("data", "2Gi"), claim("new", "1Gi")]));
        let target = revision(1, app("v1"), json!([{"metadata": {"name": "data"}}, {"metadata": {"name": "log"}}]));
        assert_eq!(missing_claims(&set, &target), ["log"]);
        assert_eq!(rollback(&set, &target, &BTreeMap::new()), Err(NoWay::UnknownClaims(vec!["log".into()])));
        let found = [claim("log-web-0", "1Gi"), claim("log-web-1", "3Gi")];
        let log = template_of_claims("log", &found, Some(&json!("2Gi"))).unwrap();
        assert_eq!(log, claim("log", "3Gi"));
        let back = rollback(&set, &target, &BTreeMap::from([("log".to_owned(), log.clone())])).unwrap();
        assert_eq!(back.claims, Some(vec![claim("data", "2Gi"), log]));
        assert!(!back.is_there);
    }

    #[test]
    fn a_native_revision_leaves_the_claim_templates_alone() {
        let set = set(app("v1"), json!([claim("data", "2Gi")]));
        let back = rollback(&set, &revision(1, app("v1"), Value::Null), &BTreeMap::new()).unwrap();
        assert_eq!((back.claims, back.is_there), (None, true));
    }
}
