//! ControllerRevisions: what is kept of one, its data and its hash.

use std::sync::Arc;

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::canonical;
use super::pod::OwnerFacts;
use crate::api::names;

/// A ControllerRevision as a decision sees it.
#[derive(Clone, Debug, PartialEq)]
pub struct RevisionFacts {
    pub name: Box<str>,
    pub uid: Box<str>,
    pub resource_version: Box<str>,
    /// The label `controller.kubernetes.io/hash`; where absent, the name's last part.
    pub hash: Box<str>,
    /// `revision`: grows with each rollout.
    pub number: i64,
    /// `None`: an orphan, which may be adopted.
    pub controller: Option<OwnerFacts>,
    pub terminating: bool,
    /// The whole `data`, as it stands.
    pub data: Arc<Value>,
}

impl RevisionFacts {
    /// The Pod template, without the marker that native revisions carry.
    pub fn template(&self) -> Value {
        let mut template = self.data.pointer("/spec/template").cloned().unwrap_or_default();
        if let Value::Object(map) = &mut template {
            map.remove("$patch");
        }
        template
    }

    /// The names of the claim templates; `None` in a revision of a native StatefulSet, which does
    /// not record them.
    pub fn claim_names(&self) -> Option<Vec<Box<str>>> {
        let list = self.data.pointer("/spec/volumeClaimTemplates")?.as_array()?;
        Some(list.iter().filter_map(|claim| claim.pointer("/metadata/name")?.as_str()).map(Box::from).collect())
    }
}

/// The data of the revision of a template: the form of native StatefulSets, and the names of the
/// claim templates.
pub fn revision_data<'a>(template: &Value, claim_names: impl IntoIterator<Item = &'a str>) -> Value {
    let mut template = template.clone();
    if let Value::Object(map) = &mut template {
        map.insert("$patch".into(), "replace".into());
    }
    let claims: Vec<Value> = claim_names.into_iter().map(|name| json!({"metadata": {"name": name}})).collect();
    json!({"spec": {"template": template, "volumeClaimTemplates": claims}})
}

/// The letters that Kubernetes uses for generated names: no vowels, nothing that reads as a word
/// or looks like another letter.
const SAFE_LETTERS: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";
/// Letters in a revision's hash: 27^10 values.
const HASH_LETTERS: usize = 10;

/// A short, stable name for a JSON value.
pub fn hash(value: &Value, collision_count: i32) -> String {
    let mut hasher = Sha256::new();
    hasher.update(canonical::text(value).as_bytes());
    if collision_count != 0 {
        hasher.update(collision_count.to_be_bytes());
    }
    letters(&hasher.finalize(), HASH_LETTERS)
}

/// A short, stable name for a text.
pub fn hash_text(text: &str, letter_count: usize) -> String {
    letters(&Sha256::digest(text.as_bytes()), letter_count)
}

fn letters(digest: &[u8], count: usize) -> String {
    digest.iter().take(count).map(|byte| char::from(SAFE_LETTERS[usize::from(*byte) % SAFE_LETTERS.len()])).collect()
}

/// `<set>-<hash>`, the set's name cut where it is too long.
pub fn revision_name(set_name: &str, hash: &str) -> String {
    let prefix: String = set_name.chars().take(names::REVISION_PREFIX_BYTES_MAX).collect();
    format!("{prefix}-{hash}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_depends_on_meaning_and_collisions_only() {
        let one = revision_data(&json!({"spec": {"a": 1, "b": 2}}), ["data"]);
        let same = revision_data(&serde_json::from_str(r#"{"spec":{"b":2,"a":1}}"#).unwrap(), ["data"]);
        assert_eq!(hash(&one, 0), hash(&same, 0));
        assert_ne!(hash(&one, 0), hash(&one, 1));
        assert_ne!(hash(&one, 0), hash(&revision_data(&json!({"spec": {"a": 1, "b": 2}}), []), 0));
        assert_eq!(hash(&one, 0).len(), HASH_LETTERS);
    }

    #[test]
    fn a_revision_gives_its_template_and_claims_back() {
        let revision = RevisionFacts {
            name: "web-x".into(),
            uid: "u".into(),
            resource_version: "1".into(),
            hash: "x".into(),
            number: 1,
            controller: None,
            terminating: false,
            data: Arc::new(revision_data(&json!({"spec": {"a": 1}}), ["data", "log"])),
        };
        assert_eq!(revision.template(), json!({"spec": {"a": 1}}));
        assert_eq!(revision.claim_names(), Some(vec!["data".into(), "log".into()]));
        let native = RevisionFacts { data: Arc::new(json!({"spec": {"template": {"$patch": "replace"}}})), ..revision };
        assert_eq!(native.claim_names(), None);
    }
}
