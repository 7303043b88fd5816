//! The kinds of set that Pods can belong to.

use kube::Api;
use kube::api::{ApiResource, DynamicObject};
use kube::core::GroupVersionKind;

use crate::api::names;
use crate::cli::connect::Session;
use crate::cli::convert::set::Source;
use crate::cli::error::CliError;

/// A kind, as it is asked for and as it is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SetKind {
    pub group: &'static str,
    pub version: &'static str,
    pub kind: &'static str,
    pub plural: &'static str,
    /// As kubectl prints it before a slash.
    pub shown: &'static str,
}

pub const NATIVE: SetKind =
    SetKind { group: "apps", version: "v1", kind: "StatefulSet", plural: "statefulsets", shown: "statefulset.apps" };
pub const KRUISE: SetKind = SetKind {
    group: "apps.kruise.io",
    version: "v1beta1",
    kind: "StatefulSet",
    plural: "statefulsets",
    shown: "statefulset.apps.kruise.io",
};
pub const OURS: SetKind = SetKind {
    group: names::GROUP,
    version: names::VERSION,
    kind: names::KIND,
    plural: "advancedstatefulsets",
    shown: "advancedstatefulset.apps.asts.dev",
};

impl SetKind {
    pub fn api(&self, session: &Session) -> Api<DynamicObject> {
        let kind = GroupVersionKind::gvk(self.group, self.version, self.kind);
        let resource = ApiResource::from_gvk_with_plural(&kind, self.plural);
        Api::namespaced_with(session.client.clone(), &session.namespace, &resource)
    }

    pub fn api_version(&self) -> String {
        format!("{}/{}", self.group, self.version)
    }

    /// The converter's word for a StatefulSet.
    pub fn source(&self) -> Source {
        if *self == KRUISE { Source::Kruise } else { Source::Native }
    }
}

/// The kind of StatefulSet that a word before a name means.
pub fn of_word(word: &str) -> Option<SetKind> {
    match word {
        "sts"
        | "statefulset"
        | "statefulsets"
        | "statefulset.apps"
        | "statefulsets.apps"
        | "statefulset.v1.apps"
        | "statefulsets.v1.apps" => Some(NATIVE),
        "statefulset.apps.kruise.io"
        | "statefulsets.apps.kruise.io"
        | "statefulset.v1beta1.apps.kruise.io"
        | "statefulsets.v1beta1.apps.kruise.io" => Some(KRUISE),
        _ => None,
    }
}

/// The StatefulSet that is named: `statefulset/NAME`, `statefulset NAME`, `statefulset.apps.kruise.io/NAME`, `NAME`.
pub fn parse(words: &[String]) -> Result<(SetKind, String), CliError> {
    let (kind, name) = match words {
        [word] => word.split_once('/').unwrap_or(("statefulset", word)),
        [kind, name] => (kind.as_str(), name.as_str()),
        _ => return Err(CliError::Usage("name one StatefulSet, as in: kubectl asts adopt statefulset/NAME".into())),
    };
    let Some(kind) = of_word(kind) else {
        let known = "statefulset/NAME and statefulset.apps.kruise.io/NAME can be adopted";
        return Err(CliError::Usage(format!("{kind:?} is no StatefulSet: {known}")));
    };
    if name.is_empty() || name.contains('/') {
        return Err(CliError::Usage(format!("{name:?} is no name")));
    }
    Ok((kind, name.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(words: &[&str]) -> Result<(SetKind, String), String> {
        let words: Vec<String> = words.iter().map(ToString::to_string).collect();
        parse(&words).map_err(|error| error.to_string())
    }

    #[test]
    fn statefulsets_are_named_as_for_kubectl() {
        for words in [vec!["web"], vec!["sts/web"], vec!["statefulset", "web"], vec!["statefulsets.apps/web"]] {
            assert_eq!(parsed(&words), Ok((NATIVE, "web".to_owned())), "{words:?}");
        }
        assert_eq!(parsed(&["statefulset.apps.kruise.io/web"]), Ok((KRUISE, "web".to_owned())));
        for words in [vec![], vec!["deployment/web"], vec!["sts/"], vec!["a", "b", "c"], vec!["sts/a/b"]] {
            assert!(parsed(&words).is_err(), "{words:?}");
        }
    }
}
