//! Patterns of annotation keys, in which `*` stands for any characters, and what a change of an
//! annotation that fits means.

use std::sync::Arc;

/// Patterns; a key fits when it fits one of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Patterns(Arc<[Box<str>]>);

/// Annotations with which tools ask for a restart: `kubectl rollout restart`, Helm's checksums,
/// Reloader.
pub const RESTART_DEFAULT: [&str; 5] = [
    "kubectl.kubernetes.io/restartedAt",
    "checksum/*",
    "*/checksum",
    "*.reloader.stakater.com/*",
    "reloader.stakater.com/*",
];

/// Annotations that injectors read only when a Pod is created.
pub const INJECTORS: [&str; 4] = ["sidecar.istio.io/*", "vault.hashicorp.com/*", "linkerd.io/*", "config.linkerd.io/*"];

impl Patterns {
    pub fn new<'a>(patterns: impl IntoIterator<Item = &'a str>) -> Self {
        Patterns(patterns.into_iter().map(Box::from).collect())
    }

    /// What injectors read, the manager's own patterns included.
    pub fn of_injectors<'a>(more: impl IntoIterator<Item = &'a str>) -> Self {
        Patterns::new(INJECTORS.into_iter().chain(more))
    }

    pub fn matches(&self, key: &str) -> bool {
        self.0.iter().any(|pattern| fits(pattern, key))
    }
}

/// What a change of a template's annotation means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AnnotationRules {
    /// The containers are to be started again.
    pub restart: Patterns,
    /// Only a new Pod sees it. Wins over `restart`.
    pub injectors: Patterns,
}

impl Default for AnnotationRules {
    fn default() -> Self {
        AnnotationRules { restart: Patterns::new(RESTART_DEFAULT), injectors: Patterns::of_injectors([]) }
    }
}

/// Whether a whole text fits a pattern. Takes no longer than both lengths multiplied.
fn fits(pattern: &str, text: &str) -> bool {
    let mut parts = pattern.split('*');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = text.strip_prefix(first) else { return false };
    let mut parts: Vec<&str> = parts.collect();
    let Some(last) = parts.pop() else { return rest.is_empty() };
    for part in parts {
        match rest.find(part) {
            // The first place is as good as any: what follows may begin anywhere after it.
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    rest.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_any_characters() {
        for (pattern, text) in [
            ("a", "a"),
            ("*", ""),
            ("*", "a/b"),
            ("checksum/*", "checksum/config"),
            ("checksum/*", "checksum/"),
            ("*/checksum", "example.com/checksum"),
            ("*.reloader.stakater.com/*", "configmap.reloader.stakater.com/reload"),
            ("a*b*c", "a1b2b3c"),
            ("a**c", "ac"),
            ("*é*", "xéy"),
        ] {
            assert!(fits(pattern, text), "{pattern} {text}");
        }
        for (pattern, text) in [
            ("a", "ab"),
            ("a", ""),
            ("", "a"),
            ("checksum/*", "my.checksum/config"),
            ("*/checksum", "example.com/checksums"),
            ("a*a", "a"),
            ("a*b*c", "acb"),
            ("*.reloader.stakater.com/*", "reloader.stakater.com/auto"),
        ] {
            assert!(!fits(pattern, text), "{pattern} {text}");
        }
    }

    #[test]
    fn the_contracts_annotations() {
        let rules = AnnotationRules::default();
        for key in [
            "kubectl.kubernetes.io/restartedAt",
            "checksum/config",
            "example.com/checksum",
            "secret.reloader.stakater.com/reload",
            "reloader.stakater.com/last-reloaded-from",
        ] {
            assert!(rules.restart.matches(key) && !rules.injectors.matches(key), "{key}");
        }
        for key in [
            "sidecar.istio.io/inject",
            "vault.hashicorp.com/role",
            "linkerd.io/inject",
            "config.linkerd.io/proxy-cpu-limit",
        ] {
            assert!(rules.injectors.matches(key) && !rules.restart.matches(key), "{key}");
        }
        for key in ["note", "my.checksum/x", "kubectl.kubernetes.io/other", "mylinkerd.io/inject"] {
            assert!(!rules.injectors.matches(key) && !rules.restart.matches(key), "{key}");
        }
    }
}
