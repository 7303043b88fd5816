//! ControllerRevisions: what is kept of one, its data and its hash.

use std::collections::BTreeMap;
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
    /// The annotation `apps.asts.dev/volume-claims`, as it stands.
    pub noted_claims: Option<Box<str>>,
}

/// The storage that each claim template asks for, as written, by the template's name.
pub type ClaimSizes = BTreeMap<Box<str>, Value>;

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
    /// not record them, as long as they are not noted.
    pub fn claim_names(&self) -> Option<Vec<Box<str>>> {
        match self.recorded_claims() {
            Some(list) => {
                Some(list.iter().filter_map(|claim| claim.pointer("/metadata/name")?.as_str()).map(Box::from).collect())
            }
            None => Some(self.noted()?.into_keys().collect()),
        }
    }

    /// The sizes of the claim templates; `None` where one is not known: they are recorded under `OnPodRollingUpdate`
    /// alone.
    pub fn claim_sizes(&self) -> Option<ClaimSizes> {
        let recorded: Option<ClaimSizes> = self.recorded_claims().and_then(|list| {
            let sized = |claim: &Value| {
                let name = claim.pointer("/metadata/name")?.as_str()?.into();
                Some((name, claim.pointer("/spec/resources/requests/storage")?.clone()))
            };
            list.iter().map(sized).collect()
        });
        recorded.or_else(|| self.noted()).filter(|sizes| !sizes.values().any(Value::is_null))
    }

    fn recorded_claims(&self) -> Option<&Vec<Value>> {
        self.data.pointer("/spec/volumeClaimTemplates")?.as_array()
    }

    fn noted(&self) -> Option<ClaimSizes> {
        serde_json::from_str(self.noted_claims.as_deref()?).ok()
    }
}

/// The text of the annotation `apps.asts.dev/volume-claims`.
pub fn claims_note(names: &[Box<str>], sizes: Option<&ClaimSizes>) -> String {
    let size = |name: &str| sizes.and_then(|sizes| sizes.get(name)).cloned().unwrap_or_default();
    Value::Object(names.iter().map(|name| (name.to_string(), size(name))).collect()).to_string()
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

/// Makes the sizes of the claim templates part of a revision.
pub fn add_claim_sizes(data: &mut Value, sizes: &ClaimSizes) {
    let Some(claims) = data.pointer_mut("/spec/volumeClaimTemplates").and_then(Value::as_array_mut) else { return };
    for claim in claims {
        let name = claim.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default();
        if let Some(size) = sizes.get(name).cloned() {
            claim["spec"] = json!({"resources": {"requests": {"storage": size}}});
        }
    }
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

/// Whether a ControllerRevision is named as one of this set: no part of a hash has a dash, and other sets' names may
/// begin alike (`web`, `web-cache`).
pub fn is_named_after(set_name: &str, revision: &str) -> bool {
    revision.strip_prefix(&revision_name(set_name, "")).is_some_and(|hash| !hash.is_empty() && !hash.contains('-'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_revision_is_told_from_one_of_a_longer_name() {
        let long = "x".repeat(240);
        for (set, revision, is) in [
            ("web", "web-6d4f", true),
            ("web-cache", "web-cache-6d4f", true),
            ("web", "web-cache-6d4f", false),
            ("web", "web-", false),
            ("web", "web", false),
            ("web", "webs-6d4f", false),
            (&long, &revision_name(&long, "6d4f"), true),
        ] {
            assert_eq!(is_named_after(set, revision), is, "{set} {revision}");
        }
    }

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
            noted_claims: None,
        };
        assert_eq!(revision.template(), json!({"spec": {"a": 1}}));
        assert_eq!(revision.claim_names(), Some(vec!["data".into(), "log".into()]));
        let native = RevisionFacts { data: Arc::new(json!({"spec": {"template": {"$patch": "replace"}}})), ..revision };
        assert_eq!((native.claim_names(), native.claim_sizes()), (None, None));
    }

    #[test]
    fn sizes_are_known_where_they_are_recorded_or_noted() {
        let sizes: ClaimSizes = [("data".into(), json!("1Gi"))].into();
        let mut data = revision_data(&json!({}), ["data"]);
        let facts = |data: &Value, noted: Option<&str>| RevisionFacts {
            name: "web-x".into(),
            uid: "u".into(),
            resource_version: "1".into(),
            hash: "x".into(),
            number: 1,
            controller: None,
            terminating: false,
            data: Arc::new(data.clone()),
            noted_claims: noted.map(Box::from),
        };
        assert_eq!(facts(&data, None).claim_sizes(), None);
        let names: Vec<Box<str>> = vec!["data".into()];
        assert_eq!(facts(&data, Some(&claims_note(&names, None))).claim_sizes(), None);
        assert_eq!(facts(&data, Some(&claims_note(&names, Some(&sizes)))).claim_sizes(), Some(sizes.clone()));
        let native = json!({"spec": {"template": {}}});
        assert_eq!(facts(&native, Some(&claims_note(&names, None))).claim_names(), Some(names));
        let before = hash(&data, 0);
        add_claim_sizes(&mut data, &sizes);
        assert_eq!(facts(&data, None).claim_sizes(), Some(sizes));
        assert_ne!(hash(&data, 0), before);
    }
}
