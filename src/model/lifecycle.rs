//! Lifecycle hooks: what a set asks for, and what a Pod's labels and finalizers say to it.

use super::PodFacts;
use crate::api::names;
use crate::api::spec::{Lifecycle, LifecycleHook};

/// The hooks of a set. A hook with neither labels nor finalizers holds nothing.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Hooks {
    pub pre_delete: Option<Hook>,
    pub in_place_update: Option<Hook>,
    pub pre_normal: Option<Hook>,
}

/// One hook: marks that somebody puts on Pods and takes away.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Hook {
    pub labels: Vec<(Box<str>, Box<str>)>,
    pub finalizers: Vec<Box<str>>,
    /// The Pod is NotReady through its readiness gate while it is held.
    pub mark_not_ready: bool,
}

/// Where a Pod of a set with hooks stands: the value of the label [`names::HOOK_STATE_LABEL`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum HookState {
    /// Made, or back in service, and not called normal until the hook `preNormal` agrees.
    PreparingNormal,
    Normal,
    /// To be updated in place as soon as the hook `inPlaceUpdate` lets it go.
    PreparingUpdate,
    /// Patched, and the effect is not seen yet.
    Updating,
    /// Updated, and not called normal until the hook `inPlaceUpdate` is on it again.
    Updated,
    /// To be deleted as soon as the hook `preDelete` lets it go.
    PreparingDelete,
}

impl HookState {
    const ALL: [HookState; 6] = [
        HookState::PreparingNormal,
        HookState::Normal,
        HookState::PreparingUpdate,
        HookState::Updating,
        HookState::Updated,
        HookState::PreparingDelete,
    ];

    pub fn text(self) -> &'static str {
        match self {
            HookState::PreparingNormal => "PreparingNormal",
            HookState::Normal => "Normal",
            HookState::PreparingUpdate => "PreparingUpdate",
            HookState::Updating => "Updating",
            HookState::Updated => "Updated",
            HookState::PreparingDelete => "PreparingDelete",
        }
    }

    /// Somebody was told to get the Pod ready for what is to be done to it.
    pub fn is_preparing(self) -> bool {
        matches!(self, HookState::PreparingUpdate | HookState::PreparingDelete)
    }
}

impl Hooks {
    pub fn of(lifecycle: Option<&Lifecycle>) -> Hooks {
        let hook = |given: fn(&Lifecycle) -> Option<&LifecycleHook>| lifecycle.and_then(given).map(Hook::of);
        Hooks {
            pre_delete: hook(|lifecycle| lifecycle.pre_delete.as_ref()),
            in_place_update: hook(|lifecycle| lifecycle.in_place_update.as_ref()),
            pre_normal: hook(|lifecycle| lifecycle.pre_normal.as_ref()),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.all().next().is_none()
    }

    fn all(&self) -> impl Iterator<Item = &Hook> {
        [&self.pre_delete, &self.in_place_update, &self.pre_normal].into_iter().flatten()
    }

    /// Some hook turns readiness gates, so Pods need one.
    pub fn mark_pods(&self) -> bool {
        self.all().any(|hook| hook.mark_not_ready)
    }

    /// A label that belongs to whoever answers the hooks: an update does not set it again.
    pub fn own_label(&self, key: &str) -> bool {
        self.all().any(|hook| hook.labels.iter().any(|(label, _)| &**label == key))
    }

    /// Whether a Pod that is Ready may count as available, as far as hooks go.
    pub fn let_count(&self, pod: &PodFacts) -> bool {
        if self.is_empty() {
            return true;
        }
        match pod.hook_state() {
            None | Some(HookState::Normal) => true,
            Some(HookState::PreparingNormal) => self.pre_normal.is_none(),
            Some(HookState::PreparingUpdate | HookState::PreparingDelete) => {
                self.pre_normal.as_ref().is_none_or(|hook| hook.missing_on(pod).is_none())
            }
            Some(HookState::Updating) => false,
            Some(HookState::Updated) => self.in_place_update.is_none(),
        }
    }
}

impl Hook {
    fn of(given: &LifecycleHook) -> Hook {
        let labels = given.labels_handler.iter().flatten();
        Hook {
            labels: labels.map(|(key, value)| (key.as_str().into(), value.as_str().into())).collect(),
            finalizers: given.finalizers_handler.iter().flatten().map(|name| name.as_str().into()).collect(),
            mark_not_ready: given.mark_pod_not_ready.unwrap_or(false),
        }
    }

    /// The first mark of this hook that is on the Pod, as users read it: `label a=b`. While there is one, `preDelete`
    /// and `inPlaceUpdate` hold the Pod.
    pub fn held_by(&self, pod: &PodFacts) -> Option<String> {
        self.marks(pod).into_iter().find(|(_, there)| *there).map(|(mark, _)| mark)
    }

    /// The first mark of this hook that is not on the Pod. While there is one, the Pod is not called normal.
    pub fn missing_on(&self, pod: &PodFacts) -> Option<String> {
        self.marks(pod).into_iter().find(|(_, there)| !there).map(|(mark, _)| mark)
    }

    fn marks(&self, pod: &PodFacts) -> Vec<(String, bool)> {
        let labels = self.labels.iter().map(|(key, value)| {
            (format!("label {key}={value}"), pod.labels.get(key).is_some_and(|held| held == value))
        });
        let finalizers =
            self.finalizers.iter().map(|name| (format!("finalizer {name}"), pod.finalizers.contains(name)));
        labels.chain(finalizers).collect()
    }
}

impl PodFacts {
    /// What the label says; `None`: there is none, or no state. Such a Pod is taken as normal: it was made before the
    /// set had hooks.
    pub fn hook_state(&self) -> Option<HookState> {
        let text = self.labels.get(names::HOOK_STATE_LABEL)?;
        HookState::ALL.into_iter().find(|state| state.text() == &**text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hook() -> Hook {
        Hook {
            labels: vec![("hold".into(), "true".into()), ("other".into(), "1".into())],
            finalizers: vec!["example.com/drain".into()],
            mark_not_ready: false,
        }
    }

    fn pod(labels: &[(&str, &str)], finalizers: &[&str]) -> PodFacts {
        PodFacts {
            labels: labels.iter().map(|(key, value)| ((*key).into(), (*value).into())).collect(),
            finalizers: finalizers.iter().map(|name| (*name).into()).collect(),
            ..PodFacts::default()
        }
    }

    #[test]
    fn any_mark_holds_and_all_marks_agree() {
        let hook = hook();
        for (pod, held_by, missing) in [
            (pod(&[], &[]), None, Some("label hold=true")),
            (pod(&[("hold", "false")], &[]), None, Some("label hold=true")),
            (pod(&[("hold", "true")], &[]), Some("label hold=true"), Some("label other=1")),
            (pod(&[], &["example.com/drain"]), Some("finalizer example.com/drain"), Some("label hold=true")),
            (pod(&[("hold", "true"), ("other", "1")], &["example.com/drain", "x"]), Some("label hold=true"), None),
        ] {
            assert_eq!(hook.held_by(&pod).as_deref(), held_by, "{pod:?}");
            assert_eq!(hook.missing_on(&pod).as_deref(), missing, "{pod:?}");
        }
        assert_eq!(Hook::default().held_by(&pod(&[("a", "b")], &[])), None);
        assert_eq!(Hook::default().missing_on(&pod(&[], &[])), None);
    }

    #[test]
    fn a_pod_counts_when_it_is_normal_or_the_hook_that_held_it_is_no_more() {
        let counts = |hooks: &Hooks, state: HookState, labels: &[(&str, &str)]| {
            let mut pod = pod(labels, &[]);
            pod.labels.insert(names::HOOK_STATE_LABEL.into(), state.text().into());
            hooks.let_count(&pod)
        };
        let normal = Hook { labels: vec![("online".into(), "true".into())], ..Hook::default() };
        let hooks = Hooks { pre_delete: Some(hook()), in_place_update: Some(hook()), pre_normal: Some(normal) };
        let online = [("online", "true")];
        assert!(!counts(&hooks, HookState::PreparingNormal, &online), "the label is not turned yet");
        assert!(counts(&hooks, HookState::Normal, &[]));
        assert!(counts(&hooks, HookState::PreparingDelete, &online));
        assert!(!counts(&hooks, HookState::PreparingDelete, &[]), "taken out of traffic by whoever answers");
        assert!(!counts(&hooks, HookState::Updating, &online));
        assert!(!counts(&hooks, HookState::Updated, &online));
        let only_delete = Hooks { pre_delete: Some(hook()), ..Hooks::default() };
        for state in [HookState::PreparingNormal, HookState::Updated, HookState::PreparingUpdate] {
            assert!(counts(&only_delete, state, &[]), "{state:?} without its hook");
        }
        assert!(counts(&Hooks::default(), HookState::Updating, &[]), "the hooks were taken away");
    }
}
