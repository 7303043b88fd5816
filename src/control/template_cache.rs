//! What the apiserver said of templates, for all sets: asked once a template, and again after some time.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::model::TemplateAnswer;

/// Answers by a template's hash.
pub struct TemplateCache<Answer>(Mutex<HashMap<Box<str>, (Answer, Instant)>>);

/// For how long an answer holds.
pub trait Lifetime {
    fn lifetime(&self) -> Duration;
}

impl Lifetime for TemplateAnswer {
    fn lifetime(&self) -> Duration {
        match self {
            TemplateAnswer::Defaulted(_) => Duration::from_secs(24 * 3600),
            TemplateAnswer::Invalid(_) => Duration::from_secs(60),
            TemplateAnswer::Unavailable => Duration::from_secs(30),
        }
    }
}

/// The fields that the apiserver does not know, in its words.
#[derive(Clone)]
pub struct UnknownFields(pub Option<Box<str>>);

impl Lifetime for UnknownFields {
    /// The apiserver may be another one by then.
    fn lifetime(&self) -> Duration {
        Duration::from_secs(3600)
    }
}

impl<Answer> Default for TemplateCache<Answer> {
    fn default() -> Self {
        TemplateCache(Mutex::default())
    }
}

impl<Answer: Clone + Lifetime> TemplateCache<Answer> {
    const COUNT_MAX: usize = 512;

    pub fn get(&self, hash: &str) -> Option<Answer> {
        let answers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (answer, since) = answers.get(hash)?;
        (since.elapsed() < answer.lifetime()).then(|| answer.clone())
    }

    pub fn put(&self, hash: &str, answer: Answer) {
        let mut answers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if answers.len() >= Self::COUNT_MAX {
            let oldest = answers.iter().min_by_key(|(_, (_, since))| *since).map(|(hash, _)| hash.clone());
            if let Some(oldest) = oldest {
                answers.remove(&oldest);
            }
        }
        answers.insert(hash.into(), (answer, Instant::now()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn an_answer_is_kept_for_its_time_and_the_cache_is_bounded() {
        let cache = TemplateCache::default();
        cache.put("a", TemplateAnswer::Unavailable);
        assert_eq!(cache.get("a"), Some(TemplateAnswer::Unavailable));
        tokio::time::advance(Duration::from_secs(31)).await;
        assert_eq!(cache.get("a"), None);
        for number in 0..2 * TemplateCache::<TemplateAnswer>::COUNT_MAX {
            cache.put(&number.to_string(), TemplateAnswer::Invalid("x".into()));
        }
        assert!(cache.0.lock().unwrap().len() <= TemplateCache::<TemplateAnswer>::COUNT_MAX);
    }
}
