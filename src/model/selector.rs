//! Label selectors, matched here so that a decision needs no client.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;

use crate::api::names::LABEL_VALUE_BYTES_MAX;

/// A selector that is known to be well formed and not empty.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct Selector {
    pub match_labels: BTreeMap<String, String>,
    expressions: Vec<(String, Operator, Vec<String>)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Operator {
    In,
    NotIn,
    Exists,
    DoesNotExist,
}

impl Selector {
    /// # Errors
    /// What is wrong, in words that follow the field's path.
    pub fn parse(selector: &LabelSelector) -> Result<Selector, String> {
        let match_labels = selector.match_labels.clone().unwrap_or_default();
        let mut expressions = Vec::new();
        for (key, value) in &match_labels {
            check(key, [value])?;
        }
        for expression in selector.match_expressions.iter().flatten() {
            let operator = match expression.operator.as_str() {
                "In" => Operator::In,
                "NotIn" => Operator::NotIn,
                "Exists" => Operator::Exists,
                "DoesNotExist" => Operator::DoesNotExist,
                other => {
                    return Err(format!("has the operator {other:?}, must be In, NotIn, Exists or DoesNotExist"));
                }
            };
            let values = expression.values.clone().unwrap_or_default();
            check(&expression.key, &values)?;
            expressions.push((expression.key.clone(), operator, values));
        }
        Ok(Selector { match_labels, expressions })
    }

    pub fn is_empty(&self) -> bool {
        self.match_labels.is_empty() && self.expressions.is_empty()
    }

    pub fn matches<'a>(&self, label: impl Fn(&str) -> Option<&'a str>) -> bool {
        self.match_labels.iter().all(|(key, value)| label(key) == Some(value))
            && self.expressions.iter().all(|(key, operator, values)| {
                let actual = label(key);
                let listed = actual.is_some_and(|actual| values.iter().any(|value| value == actual));
                match operator {
                    Operator::In => listed,
                    Operator::NotIn => !listed,
                    Operator::Exists => actual.is_some(),
                    Operator::DoesNotExist => actual.is_none(),
                }
            })
    }

    pub fn matches_map(&self, labels: &BTreeMap<Box<str>, Box<str>>) -> bool {
        self.matches(|key| labels.get(key).map(|value| &**value))
    }

    /// The text form that `kubectl get -l` takes, for the scale subresource.
    pub fn to_text(&self) -> String {
        let labels = self.match_labels.iter().map(|(key, value)| format!("{key}={value}"));
        let expressions = self.expressions.iter().map(|(key, operator, values)| match operator {
            Operator::In => format!("{key} in ({})", values.join(",")),
            Operator::NotIn => format!("{key} notin ({})", values.join(",")),
            Operator::Exists => key.clone(),
            Operator::DoesNotExist => format!("!{key}"),
        });
        labels.chain(expressions).collect::<Vec<_>>().join(",")
    }
}

/// What the apiserver would not take in a list.
fn check<'a>(key: &str, values: impl IntoIterator<Item = &'a String>) -> Result<(), String> {
    let is_inner = |character: char| character.is_ascii_alphanumeric() || "-_.".contains(character);
    let is_outer = |character: char| character.is_ascii_alphanumeric();
    let is_word = |text: &str| text.starts_with(is_outer) && text.ends_with(is_outer) && text.chars().all(is_inner);
    let (prefix, name) = key.rsplit_once('/').map_or((None, key), |(prefix, name)| (Some(prefix), name));
    let is_lower = |prefix: &str| is_word(prefix) && !prefix.contains(|c: char| c == '_' || c.is_ascii_uppercase());
    if !is_word(name) || name.len() > LABEL_VALUE_BYTES_MAX || !prefix.is_none_or(is_lower) {
        return Err(format!("has {key:?}, which cannot be the key of a label"));
    }
    let is_value = |value: &&String| value.is_empty() || (is_word(value) && value.len() <= LABEL_VALUE_BYTES_MAX);
    match values.into_iter().find(|value| !is_value(value)) {
        Some(value) => Err(format!("has {value:?}, which cannot be the value of a label")),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_operator_matches_as_the_apiserver_does() {
        let selector = Selector::parse(
            &serde_json::from_value(serde_json::json!({
                "matchLabels": {"app": "web"},
                "matchExpressions": [
                    {"key": "tier", "operator": "In", "values": ["a", "b"]},
                    {"key": "zone", "operator": "NotIn", "values": ["x"]},
                    {"key": "app", "operator": "Exists"},
                    {"key": "old", "operator": "DoesNotExist"},
                ],
            }))
            .unwrap(),
        )
        .unwrap();
        let matches = |pairs: &[(&'static str, &'static str)]| {
            selector.matches(|key| pairs.iter().find(|pair| pair.0 == key).map(|pair| pair.1))
        };
        assert!(matches(&[("app", "web"), ("tier", "b")]));
        assert!(matches(&[("app", "web"), ("tier", "b"), ("zone", "y")]));
        assert!(!matches(&[("app", "web"), ("tier", "c")]));
        assert!(!matches(&[("app", "web"), ("tier", "a"), ("zone", "x")]));
        assert!(!matches(&[("app", "web"), ("tier", "a"), ("old", "")]));
        assert!(!matches(&[("tier", "a")]));
        assert_eq!(selector.to_text(), "app=web,tier in (a,b),zone notin (x),app,!old");
    }

    #[test]
    fn what_a_list_would_not_take_is_refused() {
        let parse = |key: &str, operator: &str, values: &[&str]| {
            let expression = serde_json::json!({"key": key, "operator": operator, "values": values});
            Selector::parse(&serde_json::from_value(serde_json::json!({"matchExpressions": [expression]})).unwrap())
        };
        for key in ["app", "example.com/app_1", "A.b-c"] {
            assert!(parse(key, "NotIn", &["", "a", "v1.2_3"]).is_ok(), "{key}");
        }
        for key in ["", "old key", "a/b/c", "/app", "example.com/", "Example.com/app", "-a", &"a".repeat(64)] {
            let told = parse(key, "DoesNotExist", &[]).unwrap_err();
            assert_eq!(told, format!("has {key:?}, which cannot be the key of a label"));
        }
        for value in ["team/old", "-a", "a b", &"a".repeat(64)] {
            let told = parse("app", "NotIn", &[value]).unwrap_err();
            assert_eq!(told, format!("has {value:?}, which cannot be the value of a label"));
        }
    }
}
