//! Why a test failed, in words.

use std::fmt;

/// A test's failure. Anything that is an error becomes one with `?`.
pub struct Failure(pub String);

pub type Result<T = ()> = std::result::Result<T, Failure>;

impl fmt::Debug for Failure {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl<E: std::error::Error> From<E> for Failure {
    fn from(error: E) -> Self {
        let mut text = error.to_string();
        let mut source = error.source();
        while let Some(cause) = source {
            let cause_text = cause.to_string();
            if !text.contains(&cause_text) {
                text.push_str(": ");
                text.push_str(&cause_text);
            }
            source = cause.source();
        }
        Self(text)
    }
}

/// Says what was being done when something failed, or was absent.
pub trait Context<T> {
    fn context(self, what: impl fmt::Display) -> Result<T>;
}

impl<T, E: Into<Failure>> Context<T> for std::result::Result<T, E> {
    fn context(self, what: impl fmt::Display) -> Result<T> {
        self.map_err(|error| Failure(format!("{what}: {}", error.into())))
    }
}

impl<T> Context<T> for Option<T> {
    fn context(self, what: impl fmt::Display) -> Result<T> {
        self.ok_or_else(|| Failure(format!("{what}: absent")))
    }
}

/// Fails the test with a message unless the condition is true.
#[macro_export]
macro_rules! ensure {
    ($condition:expr, $($message:tt)+) => {
        if !$condition {
            return Err($crate::harness::Failure(format!($($message)+)));
        }
    };
}

/// Fails the test unless both values are equal.
#[macro_export]
macro_rules! ensure_eq {
    ($left:expr, $right:expr, $($message:tt)+) => {
        match (&$left, &$right) {
            (left, right) if left != right => {
                return Err($crate::harness::Failure(format!(
                    "{}: {left:?} where {right:?} was expected", format_args!($($message)+)
                )));
            }
            _ => {}
        }
    };
}

/// The tests of a file, by the names of their functions.
#[macro_export]
macro_rules! test_list {
    ($($name:ident),+ $(,)?) => {
        pub fn tests() -> Vec<$crate::harness::Test> {
            vec![$($crate::harness::Test::new(
                concat!(module_path!(), "::", stringify!($name)),
                |space| Box::pin($name(space)),
            )),+]
        }
    };
}
