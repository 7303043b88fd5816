//! Read-your-writes for one set: it is not planned again until the cache shows what was written.

use tokio::time::{Duration, Instant};

use super::cache::Store;
use super::client::Kind;
use crate::model::pod::is_newer;

/// A watch that has not shown a write after this time is not waited for: a live read tells.
pub const PATIENCE: Duration = Duration::from_secs(5);

/// What the cache must show of an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Shows {
    /// This incarnation, at this version or later.
    AtLeast { uid: Box<str>, resource_version: Box<str> },
    /// This incarnation is gone, or on its way out.
    Leaving { uid: Box<str> },
    /// Another state than this one: a precondition on it did not hold.
    OtherThan { uid: Box<str>, resource_version: Box<str> },
    /// Nobody knows what the write did: only a live read tells.
    LiveRead,
}

/// A write whose effect is to be seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expectation {
    pub kind: Kind,
    pub name: Box<str>,
    pub shows: Shows,
    pub since: Instant,
}

/// The writes of one set that the cache may not have seen yet.
#[derive(Clone, Debug, Default)]
pub struct Inflight {
    expectations: Vec<Expectation>,
}

/// What to do about them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// All seen: plan.
    Clear,
    /// Wait for a watch, at most this long.
    Wait(Duration),
    /// These need a live read.
    Resolve(Vec<Expectation>),
}

impl Inflight {
    pub fn expect(&mut self, kind: Kind, name: &str, shows: Shows) {
        // A later write of the same object says all that the earlier one said.
        self.expectations
            .retain(|earlier| !(earlier.kind == kind && *earlier.name == *name && earlier.shows != Shows::LiveRead));
        self.expectations.push(Expectation { kind, name: name.into(), shows, since: Instant::now() });
    }

    /// Drops what the cache shows, and says what is left to do.
    pub fn look(&mut self, store: &Store, namespace: &str, now: Instant) -> Standing {
        self.expectations.retain(|expectation| !is_seen(store, namespace, expectation));
        let late = |expectation: &&Expectation| {
            expectation.shows == Shows::LiveRead || now.saturating_duration_since(expectation.since) >= PATIENCE
        };
        let resolve: Vec<Expectation> = self.expectations.iter().filter(late).cloned().collect();
        if !resolve.is_empty() {
            return Standing::Resolve(resolve);
        }
        let oldest = self.expectations.iter().map(|expectation| expectation.since).min();
        oldest.map_or(Standing::Clear, |since| Standing::Wait((since + PATIENCE).saturating_duration_since(now)))
    }

    /// A live read of the object was made and taken into the cache.
    pub fn resolved(&mut self, expectation: &Expectation) {
        self.expectations.retain(|held| held != expectation);
    }

    pub fn is_empty(&self) -> bool {
        self.expectations.is_empty()
    }
}

fn is_seen(store: &Store, namespace: &str, expectation: &Expectation) -> bool {
    let held = store.identity(expectation.kind, namespace, &expectation.name);
    match &expectation.shows {
        Shows::AtLeast { uid, resource_version } => match held {
            Some((held_uid, _, _)) if held_uid != &**uid => store.is_dead(expectation.kind, uid),
            Some((_, held_version, _)) => !is_newer(resource_version, held_version),
            None => store.is_dead(expectation.kind, uid),
        },
        Shows::Leaving { uid } => held.is_none_or(|(held_uid, _, leaving)| held_uid != &**uid || leaving),
        Shows::OtherThan { uid, resource_version } => held
            .is_none_or(|(held_uid, held_version, _)| held_uid != &**uid || is_newer(held_version, resource_version)),
        Shows::LiveRead => false,
    }
}

#[cfg(test)]
mod tests {
    use kube::runtime::watcher::Event;
    use serde_json::json;

    use super::*;
    use crate::control::cache::Scope;
    use crate::control::cache::pod::PodObject;

    fn pod(uid: &str, version: &str, leaving: bool) -> PodObject {
        let mut object =
            json!({"metadata": {"namespace": "shop", "name": "web-0", "uid": uid, "resourceVersion": version}});
        if leaving {
            object["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
        }
        serde_json::from_value(object).unwrap()
    }

    fn store(events: Vec<Event<PodObject>>) -> Store {
        let mut store = Store::default();
        for event in events {
            store.event(&Scope::All, event);
        }
        store
    }

    fn at_least(uid: &str, version: &str) -> Shows {
        Shows::AtLeast { uid: uid.into(), resource_version: version.into() }
    }

    fn is_clear(store: &Store, shows: Shows) -> bool {
        let mut inflight = Inflight::default();
        inflight.expect(Kind::Pod, "web-0", shows);
        inflight.look(store, "shop", Instant::now()) == Standing::Clear
    }

    #[tokio::test]
    async fn a_write_is_seen_at_its_version_or_later() {
        let held = store(vec![Event::Apply(pod("a", "10", false))]);
        assert!(is_clear(&held, at_least("a", "9")), "versions are numbers, not texts");
        assert!(is_clear(&held, at_least("a", "10")));
        assert!(!is_clear(&held, at_least("a", "11")));
        assert!(!is_clear(&held, at_least("b", "9")), "another incarnation is not ours");
        assert!(!is_clear(&store(vec![]), at_least("a", "9")), "not yet seen");
        let came_and_went = store(vec![Event::Apply(pod("a", "10", false)), Event::Delete(pod("a", "12", true))]);
        assert!(is_clear(&came_and_went, at_least("a", "10")));
    }

    #[tokio::test]
    async fn a_delete_is_seen_when_it_leaves_or_is_gone() {
        let leaving = || Shows::Leaving { uid: "a".into() };
        assert!(!is_clear(&store(vec![Event::Apply(pod("a", "10", false))]), leaving()));
        assert!(is_clear(&store(vec![Event::Apply(pod("a", "11", true))]), leaving()));
        assert!(is_clear(&store(vec![Event::Apply(pod("b", "11", false))]), leaving()));
        assert!(is_clear(&store(vec![]), leaving()));
    }

    #[tokio::test]
    async fn a_conflict_is_over_when_the_object_is_another() {
        let other = || Shows::OtherThan { uid: "a".into(), resource_version: "10".into() };
        assert!(!is_clear(&store(vec![Event::Apply(pod("a", "10", false))]), other()));
        assert!(is_clear(&store(vec![Event::Apply(pod("a", "11", false))]), other()));
        assert!(is_clear(&store(vec![]), other()));
    }

    #[tokio::test(start_paused = true)]
    async fn what_no_watch_shows_is_read_live() {
        let held = store(vec![Event::Apply(pod("a", "10", false))]);
        let mut inflight = Inflight::default();
        inflight.expect(Kind::Pod, "web-0", at_least("a", "11"));
        assert_eq!(inflight.look(&held, "shop", Instant::now()), Standing::Wait(PATIENCE));
        tokio::time::advance(PATIENCE).await;
        let Standing::Resolve(late) = inflight.look(&held, "shop", Instant::now()) else { panic!("not late") };
        inflight.resolved(&late[0]);
        assert_eq!(inflight.look(&held, "shop", Instant::now()), Standing::Clear);
        inflight.expect(Kind::Pod, "web-0", Shows::LiveRead);
        assert!(matches!(inflight.look(&held, "shop", Instant::now()), Standing::Resolve(_)));
    }
}
