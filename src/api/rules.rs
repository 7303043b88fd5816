//! Rules in CEL that the apiserver checks. Each message begins with the field.
//!
//! The apiserver computes from the bounds in `policy` what a rule may cost at most, and refuses the
//! definition where that is too much.

use serde_json::{Value, json};

use super::names;

/// Longest name of a set, in bytes: 253 for a Pod's name, less a dash and a digit. Ordinals of more digits that do not
/// fit are reported in `ReplicaFailure`.
const NAME_BYTES_MAX: u32 = 251;

/// Rules by the path of the schema that they stand at.
pub(super) fn by_path() -> Vec<(&'static str, Vec<Value>)> {
    const ROLLING: &str = "spec.updateStrategy.rollingUpdate";
    let selector_rules = |path| vec![not_empty(path)];
    let mut all = vec![
        ("", name()),
        ("spec", spec()),
        ("spec.selector", [selector_rules("spec.selector"), vec![immutable("spec.selector")]].concat()),
        ("spec.selector.matchExpressions[]", vec![values("spec.selector")]),
        ("spec.template.metadata.labels", names::LABELS_OF_ONE_POD.map(not_of_one_pod).to_vec()),
        ("spec.template.spec", template()),
        ("spec.volumeClaimTemplates", claims()),
        ("spec.updateStrategy", vec![on_delete()]),
        ("spec.reserveOrdinals[]", reserved()),
    ];
    all.push(("spec.updateStrategy.rollingUpdate.partition", vec![partition()]));
    all.push(("spec.updateStrategy.rollingUpdate.maxUnavailable", vec![max_unavailable(ROLLING)]));
    all.push(("spec.scaleStrategy.maxUnavailable", vec![max_unavailable("spec.scaleStrategy")]));
    all.push((
        "spec.updateStrategy.rollingUpdate.unorderedUpdate.priorityStrategy",
        vec![rule(
            "!(has(self.orderPriority) && size(self.orderPriority) > 0 && has(self.weightPriority) && size(self.weightPriority) > 0)",
            "spec.updateStrategy.rollingUpdate.unorderedUpdate.priorityStrategy: give orderPriority or weightPriority, not both",
        )],
    ));
    const MATCH: &str =
        "spec.updateStrategy.rollingUpdate.unorderedUpdate.priorityStrategy.weightPriority[].matchSelector";
    all.push((MATCH, selector_rules("weightPriority.matchSelector")));
    all.push((
        "spec.updateStrategy.rollingUpdate.unorderedUpdate.priorityStrategy.weightPriority[].matchSelector.matchExpressions[]",
        vec![values("weightPriority.matchSelector")],
    ));
    all
}

fn name() -> Vec<Value> {
    vec![
        rule(
            &format!("size(self.metadata.name) <= {NAME_BYTES_MAX}"),
            &format!(
                "metadata.name: must have at most {NAME_BYTES_MAX} characters, so that <name>-<ordinal> can name a Pod"
            ),
        ),
        rule(
            &format!(
                "!has(self.spec.volumeClaimTemplates) || self.spec.volumeClaimTemplates.all(t, \
                 size(t.metadata.name) + size(self.metadata.name) < {NAME_BYTES_MAX})"
            ),
            &format!(
                "metadata.name: must have fewer than {NAME_BYTES_MAX} characters together with each name in \
                 spec.volumeClaimTemplates, so that <template>-<name>-<ordinal> can name a claim"
            ),
        ),
    ]
}

fn not_of_one_pod(label: &str) -> Value {
    rule(
        &format!("!('{label}' in self)"),
        &format!("spec.template.metadata.labels: must not have {label}, which is said of one Pod"),
    )
}

fn spec() -> Vec<Value> {
    let policy = |of: &str| {
        format!(
            "(has({of}.podManagementPolicy) && {of}.podManagementPolicy != '' ? {of}.podManagementPolicy : 'OrderedReady')"
        )
    };
    let service = |of: &str| format!("(has({of}.serviceName) ? {of}.serviceName : '')");
    vec![
        at_field(
            ".podManagementPolicy",
            &format!("{} == {}", policy("self"), policy("oldSelf")),
            "spec.podManagementPolicy: cannot be changed; create another set",
        ),
        at_field(
            ".serviceName",
            &format!("{} == {}", service("self"), service("oldSelf")),
            "spec.serviceName: cannot be added, changed or removed; create another set",
        ),
        at_field(
            ".serviceName",
            "!has(self.serviceName) || self.serviceName == '' || self.serviceName.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?$')",
            "spec.serviceName: must be a DNS label: lower case letters, digits and dashes, with no dash at its ends",
        ),
        matches_labels(),
        matches_expressions(),
        progress_deadline(),
    ]
}

fn matches_labels() -> Value {
    at_field(
        ".selector",
        "!has(self.selector.matchLabels) || self.selector.matchLabels.all(k, has(self.template.metadata) && \
         has(self.template.metadata.labels) && k in self.template.metadata.labels && \
         self.template.metadata.labels[k] == self.selector.matchLabels[k])",
        "spec.selector: its matchLabels must be among spec.template.metadata.labels",
    )
}

fn matches_expressions() -> Value {
    let present =
        "(has(self.template.metadata) && has(self.template.metadata.labels) && e.key in self.template.metadata.labels)";
    let listed = "(has(e.values) && self.template.metadata.labels[e.key] in e.values)";
    let expression = format!(
        "!has(self.selector.matchExpressions) || self.selector.matchExpressions.all(e, \
         e.operator == 'In' ? ({present} && {listed}) : \
         e.operator == 'NotIn' ? !({present} && {listed}) : \
         e.operator == 'Exists' ? {present} : !{present})"
    );
    at_field(
        ".selector",
        &expression,
        "spec.selector: its matchExpressions must hold for spec.template.metadata.labels",
    )
}

/// 600 is the default, which the apiserver has put in where none was given: a set with a longer
/// `minReadySeconds` and no deadline stays valid.
fn progress_deadline() -> Value {
    let rolling = "self.updateStrategy.rollingUpdate";
    at_field(
        ".progressDeadlineSeconds",
        &format!(
            "!has(self.progressDeadlineSeconds) || self.progressDeadlineSeconds == 600 || self.progressDeadlineSeconds > \
             (has(self.updateStrategy) && has({rolling}) && has({rolling}.minReadySeconds) ? {rolling}.minReadySeconds : \
             has(self.minReadySeconds) ? self.minReadySeconds : 0)"
        ),
        "spec.progressDeadlineSeconds: must be greater than minReadySeconds",
    )
}

fn template() -> Vec<Value> {
    vec![
        at_field(
            ".restartPolicy",
            "!has(self.restartPolicy) || self.restartPolicy in ['', 'Always']",
            "spec.template.spec.restartPolicy: must be Always or absent",
        ),
        at_field(
            ".activeDeadlineSeconds",
            "!has(self.activeDeadlineSeconds)",
            "spec.template.spec.activeDeadlineSeconds: must be absent",
        ),
    ]
}

fn claims() -> Vec<Value> {
    vec![rule(
        "self.all(t, self.exists_one(other, other.metadata.name == t.metadata.name))",
        "spec.volumeClaimTemplates: each metadata.name must be there once",
    )]
}

fn on_delete() -> Value {
    at_field(
        ".rollingUpdate",
        "!(has(self.rollingUpdate) && has(self.type) && self.type == 'OnDelete')",
        "spec.updateStrategy.rollingUpdate: only with the type RollingUpdate",
    )
}

fn reserved() -> Vec<Value> {
    vec![rule(
        "type(self) == int ? self >= 0 && self <= 2147483647 : (self.matches('^[0-9]{1,15}$') || \
         self.matches('^[0-9]{1,15}-[0-9]{1,15}$') && int(self.split('-')[0]) <= int(self.split('-')[1]))",
        "spec.reserveOrdinals: must be a number from 0 (3; above 2147483647 as text) or a range (\"5-9\") whose first \
         is not above its last, of at most 15 digits",
    )]
}

fn partition() -> Value {
    rule(
        "type(self) == int ? self >= 0 : self.matches('^0*(100|[1-9]?[0-9])%$')",
        "spec.updateStrategy.rollingUpdate.partition: must be a number from 0, or \"0%\" to \"100%\"",
    )
}

fn max_unavailable(parent: &str) -> Value {
    rule(
        "type(self) == int ? self >= 1 : self.matches('^0*(100|[1-9][0-9]?)%$')",
        &format!("{parent}.maxUnavailable: must be a number from 1, or \"1%\" to \"100%\""),
    )
}

fn immutable(path: &str) -> Value {
    rule("self == oldSelf", &format!("{path}: cannot be changed; create another set"))
}

fn not_empty(path: &str) -> Value {
    rule(
        "has(self.matchLabels) && size(self.matchLabels) > 0 || has(self.matchExpressions) && size(self.matchExpressions) > 0",
        &format!("{path}: must not be empty"),
    )
}

fn values(path: &str) -> Value {
    at_field(
        ".values",
        "(self.operator in ['In', 'NotIn']) == (has(self.values) && size(self.values) > 0)",
        &format!("{path}.matchExpressions.values: must be given with In and NotIn, and only with them"),
    )
}

fn rule(rule: &str, message: &str) -> Value {
    json!({"rule": rule, "message": message})
}

/// A rule that needs to see more than the field that it reports.
fn at_field(field: &str, rule: &str, message: &str) -> Value {
    json!({"rule": rule, "message": message, "fieldPath": field})
}
