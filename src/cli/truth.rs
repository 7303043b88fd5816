//! Flags that are true or false, as kubectl reads them: `--watch`, `--watch=true`, `-w=0`.

use clap::builder::{PossibleValue, TypedValueParser};
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Arg, Command, Error};

/// Takes the words that Go takes for truth values.
#[derive(Clone, Copy, Debug)]
pub struct Truth;

impl TypedValueParser for Truth {
    type Value = bool;

    fn parse_ref(&self, command: &Command, arg: Option<&Arg>, value: &std::ffi::OsStr) -> Result<bool, Error> {
        match value.to_str() {
            Some("1" | "t" | "T" | "true" | "TRUE" | "True") => Ok(true),
            Some("0" | "f" | "F" | "false" | "FALSE" | "False") => Ok(false),
            _ => {
                let mut error = Error::new(ErrorKind::InvalidValue).with_cmd(command);
                if let Some(arg) = arg {
                    error.insert(ContextKind::InvalidArg, ContextValue::String(arg.to_string()));
                }
                let given = value.to_string_lossy().into_owned();
                error.insert(ContextKind::InvalidValue, ContextValue::String(given));
                let valid = ["true", "false"].map(str::to_owned).to_vec();
                error.insert(ContextKind::ValidValue, ContextValue::Strings(valid));
                Err(error)
            }
        }
    }

    fn possible_values(&self) -> Option<Box<dyn Iterator<Item = PossibleValue> + '_>> {
        Some(Box::new(["true", "false"].into_iter().map(PossibleValue::new)))
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use crate::cli::{Arguments, Verb};

    fn parsed(line: &str) -> Result<Verb, String> {
        let words = std::iter::once("kubectl-asts").chain(line.split_whitespace());
        Arguments::try_parse_from(words).map(|arguments| arguments.verb).map_err(|error| error.to_string())
    }

    fn shows(line: &str, field: &str) -> bool {
        format!("{:?}", parsed(line)).contains(field)
    }

    #[test]
    fn flags_are_true_or_false_in_the_words_of_kubectl() {
        for (line, name) in [
            ("rollout status web --watch", "watch"),
            ("get web -w", "watch"),
            ("get -A", "all_namespaces"),
            ("get -R -f x", "recursive"),
            ("events web -w", "watch"),
            ("plan -f x -R", "recursive"),
            ("plan -f x --server-side", "server_side"),
            ("plan -f x --server-side --force-conflicts", "force_conflicts"),
            ("convert -f x -R", "recursive"),
            ("version --client", "client"),
            ("rollout undo web --show-managed-fields", "show_managed_fields"),
            ("rollout undo web --allow-missing-template-keys", "allow_missing_template_keys"),
            ("get --insecure-skip-tls-verify", "insecure_skip_tls_verify"),
        ] {
            // The flag itself goes last, so that its value follows it.
            assert!(parsed(line).is_ok(), "{line}: {:?}", parsed(line));
            let last_is_flag = line.split(' ').next_back().is_some_and(|word| word.starts_with('-'));
            if !last_is_flag {
                continue;
            }
            for (word, expected) in [("1", true), ("t", true), ("True", true), ("0", false), ("f", false), ("F", false)]
            {
                let line = format!("{line}={word}");
                assert!(parsed(&line).is_ok(), "{line}: {:?}", parsed(&line));
                if name != "insecure_skip_tls_verify" {
                    assert!(shows(&line, &format!("{name}: {expected}")), "{line}: {:?}", parsed(&line));
                }
            }
            assert!(parsed(&format!("{line}=perhaps")).is_err_and(|error| error.contains("perhaps")), "{line}");
        }
        assert!(shows("rollout status web", "watch: true") && shows("get web", "watch: false"));
        assert!(shows("get -wA", "all_namespaces: true") && shows("get -wA", "watch: true"));
        assert!(parsed("get web -w true").is_ok(), "a word that follows is a name");
    }

    #[test]
    fn of_a_flag_that_is_given_twice_the_last_one_counts() {
        assert!(shows("rollout undo web --to-revision=1 --to-revision=2", "to_revision: 2"));
        assert!(shows("get web -o json -o yaml", "output: Some(Yaml)"));
        assert!(shows("get web -w -w=false", "watch: false"));
        assert!(shows("diff web --revision 1..2 --revision 3", "revision: Some"));
        let words = ["kubectl-asts", "-n", "a", "get", "web", "-n", "b"];
        assert_eq!(Arguments::try_parse_from(words).unwrap().connection.namespace.as_deref(), Some("b"));
        let words = ["kubectl-asts", "get", "web", "-n", "b", "--namespace=c"];
        assert_eq!(Arguments::try_parse_from(words).unwrap().connection.namespace.as_deref(), Some("c"));
        // Lists grow.
        assert!(shows("plan web --set image=a=1 --set image=b=2", "container: \"a\""));
        assert!(shows("get -f a -f b", "filename: [\"a\", \"b\"]"));
    }
}
