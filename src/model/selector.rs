//! Label selectors, matched here so that a decision needs no client.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;

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
            expressions.push((expression.key.clone(), operator, expression.values.clone().unwrap_or_default()));
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
}
