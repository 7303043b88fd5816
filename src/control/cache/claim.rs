//! PersistentVolumeClaims: as they come, and what is kept of them.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::Deserialize;
use serde_json::Value;

use super::Store;
use super::table::{IndexKey, Indexed, Table};
use super::watched::{Watched, boxed, boxed_map, is_our_group, resource, trimmed};
use crate::api::names;
use crate::control::client::Kind;
use crate::model::ClaimFacts;
use crate::model::claim::ClaimOwner;
use crate::model::pod::parent_and_ordinal;

/// A claim as it is read off the wire.
#[derive(Deserialize, Clone, Debug, Default)]
pub struct ClaimObject {
    #[serde(deserialize_with = "trimmed")]
    pub metadata: ObjectMeta,
    #[serde(default)]
    spec: Spec,
    #[serde(default)]
    status: Status,
}

#[derive(Deserialize, Clone, Debug, Default)]
#[serde(default)]
struct Spec {
    resources: Resources,
}

#[derive(Deserialize, Clone, Debug, Default)]
#[serde(default)]
struct Resources {
    requests: Option<BTreeMap<String, Value>>,
}

#[derive(Deserialize, Clone, Debug, Default)]
#[serde(default)]
#[serde(rename_all = "camelCase")]
struct Status {
    capacity: Option<BTreeMap<String, Value>>,
    conditions: Option<Vec<Condition>>,
    /// By resource: `ControllerResizeInfeasible` and others.
    allocated_resource_statuses: Option<BTreeMap<String, String>>,
}

#[derive(Deserialize, Clone, Debug, Default)]
#[serde(default)]
struct Condition {
    #[serde(rename = "type")]
    type_: String,
    status: String,
    message: Option<String>,
}

resource!(ClaimObject, "PersistentVolumeClaim", "", "v1", "persistentvolumeclaims");

impl Watched for ClaimObject {
    const KIND: Kind = Kind::Claim;
    type Facts = ClaimFacts;

    fn into_facts(self) -> Option<ClaimFacts> {
        parent_and_ordinal(self.metadata.name.as_deref().unwrap_or_default())?;
        Some(self.whole())
    }

    fn table(store: &mut Store) -> &mut Table<ClaimFacts> {
        &mut store.claims
    }
}

impl ClaimObject {
    pub fn whole(self) -> ClaimFacts {
        let mut metadata = self.metadata;
        ClaimFacts {
            file_system_pending: self.status.is_true("FileSystemResizePending").is_some(),
            growth_error: self.status.growth_error(),
            terminating: metadata.deletion_timestamp.is_some(),
            made_for: metadata
                .annotations
                .as_mut()
                .and_then(|annotations| annotations.remove(names::CLAIM_SET_ANNOTATION))
                .map(String::into_boxed_str),
            name: boxed(metadata.name),
            uid: boxed(metadata.uid),
            resource_version: boxed(metadata.resource_version),
            labels: boxed_map(metadata.labels),
            owners: metadata
                .owner_references
                .into_iter()
                .flatten()
                .map(|owner| ClaimOwner {
                    controller: owner.controller == Some(true),
                    our_group: is_our_group(&owner.api_version),
                    kind: owner.kind.into_boxed_str(),
                    name: owner.name.into_boxed_str(),
                    uid: owner.uid.into_boxed_str(),
                })
                .collect(),
            requested_bytes: storage(self.spec.resources.requests),
            capacity_bytes: storage(self.status.capacity),
        }
    }
}

impl Status {
    fn is_true(&self, type_: &str) -> Option<&Condition> {
        self.conditions.iter().flatten().find(|condition| condition.type_ == type_ && condition.status == "True")
    }

    fn growth_error(&self) -> Option<Box<str>> {
        let failed = ["ControllerResizeError", "NodeResizeError"].iter().find_map(|type_| self.is_true(type_));
        if let Some(condition) = failed {
            return Some(condition.message.as_deref().unwrap_or(&condition.type_).into());
        }
        let state = self.allocated_resource_statuses.as_ref()?.get("storage")?;
        state.ends_with("Infeasible").then(|| state.as_str().into())
    }
}

impl Indexed for ClaimFacts {
    fn name(&self) -> &str {
        &self.name
    }

    fn uid(&self) -> &str {
        &self.uid
    }

    fn resource_version(&self) -> &str {
        &self.resource_version
    }

    /// `data-my-web-0` may be of `my-web` (template `data`) or of `web` (template `data-my`).
    fn index_keys(&self, namespace: &str) -> Vec<IndexKey> {
        let Some((stem, _)) = parent_and_ordinal(&self.name) else { return Vec::new() };
        stem.match_indices('-')
            .filter_map(|(at, _)| stem.get(at + 1..))
            .filter(|name| !name.is_empty())
            .map(|name| IndexKey::Parent { namespace: namespace.into(), name: name.into() })
            .collect()
    }
}

fn storage(amounts: Option<BTreeMap<String, Value>>) -> Option<u128> {
    match amounts?.remove("storage")? {
        Value::String(text) => quantity_bytes(&text),
        Value::Number(number) => number.as_u64().map(u128::from),
        _ => None,
    }
}

/// A quantity in whole bytes, rounded up; `None` where it is none.
pub fn quantity_bytes(text: &str) -> Option<u128> {
    let end = text
        .char_indices()
        .find(|&(_, letter)| !letter.is_ascii_digit() && letter != '.' && letter != '+')
        .map_or(text.len(), |(at, _)| at);
    let (number, suffix) = text.split_at(end);
    let (whole, fraction) =
        number.trim_start_matches('+').split_once('.').unwrap_or((number.trim_start_matches('+'), ""));
    let (factor, divisor) = scale(suffix)?;
    let digits = u32::try_from(fraction.len()).ok()?;
    let mantissa: u128 = format!("{whole}{fraction}").parse().ok()?;
    let divisor = 10u128.checked_pow(digits)?.checked_mul(divisor)?;
    Some(mantissa.checked_mul(factor)?.div_ceil(divisor))
}

/// What a suffix multiplies by and divides by.
fn scale(suffix: &str) -> Option<(u128, u128)> {
    const BINARY: [&str; 6] = ["Ki", "Mi", "Gi", "Ti", "Pi", "Ei"];
    const DECIMAL: [&str; 6] = ["k", "M", "G", "T", "P", "E"];
    const SMALL: [&str; 3] = ["m", "u", "n"];
    let power = |position: usize| u32::try_from(position + 1).ok();
    if suffix.is_empty() {
        return Some((1, 1));
    }
    if let Some(position) = BINARY.iter().position(|known| *known == suffix) {
        return Some((1024u128.checked_pow(power(position)?)?, 1));
    }
    if let Some(position) = DECIMAL.iter().position(|known| *known == suffix) {
        return Some((1000u128.checked_pow(power(position)?)?, 1));
    }
    if let Some(position) = SMALL.iter().position(|known| *known == suffix) {
        return Some((1, 1000u128.checked_pow(power(position)?)?));
    }
    let exponent: i32 = suffix.strip_prefix(['e', 'E'])?.parse().ok()?;
    let factor = 10u128.checked_pow(exponent.unsigned_abs())?;
    Some(if exponent < 0 { (1, factor) } else { (factor, 1) })
}
