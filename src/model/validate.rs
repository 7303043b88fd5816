//! The spec as written → what it means. Defaults that the schema does not fill in are given here,
//! and what the schema should have refused (a value written past it) is refused with its path.

use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use serde_json::Value;

use super::annotation_rules::{Patterns, RESTART_DEFAULT};
use super::canonical;
use super::count::Count;
use super::lifecycle::Hooks;
use super::selector::Selector;
use super::slots::{Ranges, Slots};
use crate::api::names;
use crate::api::spec::{
    AdvancedStatefulSetSpec, ClaimRetention, EnvUpdate, PodManagementPolicy, PodUpdatePolicy, RollingUpdate,
    UpdateStrategyType, VolumeClaimUpdateStrategyType,
};

/// Most replicas of one set. The apiserver could hold more; a plan is made in memory at once.
pub const REPLICAS_MAX: usize = 100_000;

const DEFAULT_PROGRESS_DEADLINE_SECONDS: i32 = 600;
/// How much later than `minReadySeconds` a Pod may be seen to be available.
const LATENESS_SECONDS: i64 = 60;

/// A spec that is known to make sense, with every default in place.
#[derive(Clone, Debug)]
pub struct ValidSpec {
    pub slots: Slots,
    pub selector: Selector,
    /// The template as written, nulls dropped.
    pub template: Value,
    pub claim_templates: Vec<ClaimTemplate>,
    /// `volumeClaimUpdateStrategy: OnPodRollingUpdate`: claims grow as their Pods are updated.
    pub grow_claims: bool,
    pub service_name: Option<String>,
    pub ordered: bool,
    pub on_delete: bool,
    pub rolling: Rolling,
    pub min_ready_seconds: i64,
    /// Most Pods that may be not available while `Parallel` creates more.
    pub scale_max_unavailable: Option<usize>,
    /// `whenDeleted: Delete`.
    pub delete_claims_with_set: bool,
    /// `whenScaled: Delete`.
    pub delete_claims_when_scaled: bool,
    /// `None`: keep all.
    pub revision_history_limit: Option<usize>,
    pub progress_deadline_seconds: i64,
    pub hooks: Hooks,
}

/// `updateStrategy.rollingUpdate`, with its defaults; under `OnDelete` the defaults alone.
#[derive(Clone, Debug, PartialEq)]
pub struct Rolling {
    /// Slots that stay as they are.
    pub partition: usize,
    /// The partition as written is zero: nobody is held back.
    pub partition_is_zero: bool,
    pub max_unavailable: usize,
    pub paused: bool,
    pub policy: PodUpdatePolicy,
    /// Nodes pull new images before their Pods are touched.
    pub pre_pull: bool,
    pub grace_period_seconds: i64,
    pub timeout_seconds: i64,
    /// New Pods hold their literal environment variables in annotations.
    pub env_in_annotations: bool,
    /// Annotations of the template whose change restarts the containers.
    pub restart_annotations: Patterns,
    pub priority: Option<Priority>,
}

/// Which Pods update first.
#[derive(Clone, Debug, PartialEq)]
pub enum Priority {
    /// The sum of the weights whose selector matches; higher first.
    Weight(Vec<(i64, Selector)>),
    /// Earlier keys first, then the number at the end of the label's value, higher first.
    Order(Vec<String>),
}

#[derive(Clone, Debug, PartialEq)]
pub struct ClaimTemplate {
    pub name: String,
    /// The template as written, nulls dropped.
    pub raw: Value,
}

impl ClaimTemplate {
    /// The storage that it asks for, as written.
    pub fn size(&self) -> Option<&Value> {
        self.raw.pointer("/spec/resources/requests/storage")
    }
}

/// A value that cannot be acted on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldError {
    /// Such as `spec.updateStrategy.rollingUpdate.partition`.
    pub path: String,
    pub message: String,
}

impl std::fmt::Display for FieldError {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{} {}", self.path, self.message)
    }
}

type Errors = Vec<FieldError>;

impl ValidSpec {
    /// # Errors
    /// Every field that makes no sense.
    pub fn parse(spec: &AdvancedStatefulSetSpec) -> Result<ValidSpec, Vec<FieldError>> {
        let mut errors = Errors::new();
        let replicas = not_negative(spec.replicas.unwrap_or(1), "spec.replicas", &mut errors);
        if replicas > REPLICAS_MAX {
            push(&mut errors, "spec.replicas", format!("must be at most {REPLICAS_MAX}, is {replicas}"));
        }
        let start = not_negative(
            spec.ordinals.as_ref().and_then(|ordinals| ordinals.start).unwrap_or(0),
            "spec.ordinals.start",
            &mut errors,
        );
        let reserved =
            Ranges::parse_reserved(spec.reserve_ordinals.as_deref().unwrap_or_default()).unwrap_or_else(|message| {
                push(&mut errors, "spec.reserveOrdinals", message);
                Ranges::default()
            });
        let selector = Selector::parse(&spec.selector).unwrap_or_else(|message| {
            push(&mut errors, "spec.selector", message);
            Selector::default()
        });
        let template = canonical::without_nulls(&spec.template.0);
        check_template(&template, &selector, &mut errors);
        let on_delete = spec.update_strategy.as_ref().and_then(|strategy| strategy.type_).unwrap_or_default()
            == UpdateStrategyType::OnDelete;
        let given = spec.update_strategy.as_ref().and_then(|strategy| strategy.rolling_update.as_ref());
        let rolling = rolling(if on_delete { None } else { given }, replicas, &mut errors);
        let min_ready = given.and_then(|rolling| rolling.min_ready_seconds).or(spec.min_ready_seconds).unwrap_or(0);
        let scale = spec.scale_strategy.as_ref().and_then(|scale| scale.max_unavailable.as_ref());
        let retention = spec.persistent_volume_claim_retention_policy.as_ref();
        let valid = ValidSpec {
            slots: if errors.is_empty() {
                Slots::new(i64::try_from(start).unwrap_or(0), replicas, reserved)
            } else {
                Slots::default()
            },
            claim_templates: claim_templates(spec, &mut errors),
            grow_claims: spec.volume_claim_update_strategy.as_ref().and_then(|strategy| strategy.type_)
                == Some(VolumeClaimUpdateStrategyType::OnPodRollingUpdate),
            selector,
            template,
            service_name: spec.service_name.clone().filter(|name| !name.is_empty()),
            ordered: spec.pod_management_policy.unwrap_or_default() == PodManagementPolicy::OrderedReady,
            on_delete,
            rolling,
            min_ready_seconds: seconds(min_ready, "spec.minReadySeconds", &mut errors),
            scale_max_unavailable: scale
                .map(|value| budget(value, replicas, "spec.scaleStrategy.maxUnavailable", &mut errors)),
            delete_claims_with_set: retention.and_then(|policy| policy.when_deleted) == Some(ClaimRetention::Delete),
            delete_claims_when_scaled: retention.and_then(|policy| policy.when_scaled) == Some(ClaimRetention::Delete),
            revision_history_limit: usize::try_from(spec.revision_history_limit.unwrap_or(10)).ok(),
            progress_deadline_seconds: progress_deadline(spec, min_ready, &mut errors),
            hooks: Hooks::of(spec.lifecycle.as_ref()),
        };
        if errors.is_empty() { Ok(valid) } else { Err(errors) }
    }
}

fn push(errors: &mut Errors, path: &str, message: impl Into<String>) {
    errors.push(FieldError { path: path.to_owned(), message: message.into() });
}

fn not_negative(value: i32, path: &str, errors: &mut Errors) -> usize {
    usize::try_from(value).unwrap_or_else(|_| {
        push(errors, path, format!("must not be negative, is {value}"));
        0
    })
}

fn seconds(value: i32, path: &str, errors: &mut Errors) -> i64 {
    i64::try_from(not_negative(value, path, errors)).unwrap_or(0)
}

/// At least 1 as a number; 1 % to 100 % of the replicas.
fn budget(value: &IntOrString, replicas: usize, path: &str, errors: &mut Errors) -> usize {
    match Count::parse(value) {
        Ok(count) if count.is_zero() => push(errors, path, "must be at least 1 or 1%"),
        Ok(Count::Percent(percent)) if percent > 100 => {
            push(errors, path, format!("must be at most 100%, is {percent}%"));
        }
        Ok(count) => return count.budget_of(replicas),
        Err(message) => push(errors, path, message),
    }
    1
}

fn rolling(given: Option<&RollingUpdate>, replicas: usize, errors: &mut Errors) -> Rolling {
    let base = "spec.updateStrategy.rollingUpdate";
    let empty = RollingUpdate::default();
    let given = given.unwrap_or(&empty);
    let partition = given.partition.as_ref().map_or(Ok(Count::Number(0)), Count::parse).unwrap_or_else(|message| {
        push(errors, &format!("{base}.partition"), message);
        Count::Number(0)
    });
    let in_place = given.in_place_update_strategy.clone().unwrap_or_default();
    Rolling {
        partition: partition.partition_of(replicas),
        partition_is_zero: partition.is_zero(),
        max_unavailable: given
            .max_unavailable
            .as_ref()
            .map_or(1, |value| budget(value, replicas, &format!("{base}.maxUnavailable"), errors)),
        paused: given.paused.unwrap_or(false),
        policy: given.pod_update_policy.unwrap_or_default(),
        pre_pull: in_place.pre_pull == Some(true),
        grace_period_seconds: seconds(
            in_place.grace_period_seconds.unwrap_or(0),
            &format!("{base}.inPlaceUpdateStrategy.gracePeriodSeconds"),
            errors,
        ),
        timeout_seconds: seconds(
            in_place.timeout_seconds.unwrap_or(600),
            &format!("{base}.inPlaceUpdateStrategy.timeoutSeconds"),
            errors,
        ),
        restart_annotations: match &in_place.restart_annotations {
            Some(patterns) => Patterns::new(patterns.iter().map(String::as_str)),
            None => Patterns::new(RESTART_DEFAULT),
        },
        env_in_annotations: in_place.env == Some(EnvUpdate::Annotations),
        priority: priority(given, &format!("{base}.unorderedUpdate.priorityStrategy"), errors),
    }
}

fn priority(given: &RollingUpdate, path: &str, errors: &mut Errors) -> Option<Priority> {
    let strategy = given.unordered_update.as_ref()?.priority_strategy.as_ref()?;
    if let Some(terms) = strategy.weight_priority.as_ref().filter(|terms| !terms.is_empty()) {
        let mut weights = Vec::with_capacity(terms.len());
        for term in terms {
            match Selector::parse(&term.match_selector) {
                Ok(selector) => weights.push((i64::from(term.weight), selector)),
                Err(message) => push(errors, &format!("{path}.weightPriority.matchSelector"), message),
            }
        }
        return Some(Priority::Weight(weights));
    }
    let terms = strategy.order_priority.as_ref().filter(|terms| !terms.is_empty())?;
    Some(Priority::Order(terms.iter().map(|term| term.ordered_key.clone()).collect()))
}

fn claim_templates(spec: &AdvancedStatefulSetSpec, errors: &mut Errors) -> Vec<ClaimTemplate> {
    let mut claims: Vec<ClaimTemplate> = Vec::new();
    for raw in spec.volume_claim_templates.iter().flatten() {
        match raw.0.pointer("/metadata/name").and_then(Value::as_str) {
            Some(name) if claims.iter().any(|claim| claim.name == name) => {
                push(errors, "spec.volumeClaimTemplates", format!("has two templates named {name:?}"));
            }
            Some(name) if !name.is_empty() => {
                claims.push(ClaimTemplate { name: name.to_owned(), raw: canonical::without_nulls(&raw.0) });
            }
            _ => push(errors, "spec.volumeClaimTemplates", "has a template without metadata.name"),
        }
    }
    claims
}

/// The apiserver puts the default in where no deadline is given, also under a longer `minReadySeconds`: a Pod that is
/// becoming available is progress all the same.
fn progress_deadline(spec: &AdvancedStatefulSetSpec, min_ready_seconds: i32, errors: &mut Errors) -> i64 {
    let path = "spec.progressDeadlineSeconds";
    let given = seconds(spec.progress_deadline_seconds.unwrap_or(DEFAULT_PROGRESS_DEADLINE_SECONDS), path, errors);
    let min_ready_seconds = i64::from(min_ready_seconds);
    if given > min_ready_seconds { given } else { min_ready_seconds.saturating_add(LATENESS_SECONDS) }
}

fn check_template(template: &Value, selector: &Selector, errors: &mut Errors) {
    if selector.is_empty() {
        push(errors, "spec.selector", "must not be empty");
    } else if !selector.matches(|key| template.get("metadata")?.get("labels")?.get(key)?.as_str()) {
        push(errors, "spec.selector", "must match spec.template.metadata.labels");
    }
    for label in names::LABELS_OF_ONE_POD {
        if template.pointer("/metadata/labels").is_some_and(|labels| labels.get(label).is_some()) {
            push(errors, "spec.template.metadata.labels", format!("must not have {label}, which is said of one Pod"));
        }
    }
    if template.pointer("/spec/containers").and_then(Value::as_array).is_none_or(Vec::is_empty) {
        push(errors, "spec.template.spec.containers", "must have at least one container");
    }
    if template.pointer("/spec/restartPolicy").is_some_and(|policy| policy != "Always" && policy != "") {
        push(errors, "spec.template.spec.restartPolicy", "must be Always");
    }
    if template.pointer("/spec/activeDeadlineSeconds").is_some() {
        push(errors, "spec.template.spec.activeDeadlineSeconds", "must not be set");
    }
}
