//! The decisions stay pure: no client, clock, randomness, async or hash order in them.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::path::{Path, PathBuf};

const PURE: [&str; 5] = ["src/api", "src/model", "src/inplace", "src/plan", "src/cli/plan/forecast"];
const BANNED: [&str; 14] = [
    "kube::Client",
    "Api<",
    "tokio",
    "async fn",
    "SystemTime",
    "Instant",
    "Timestamp::now",
    "Zoned::now",
    "rand::",
    "HashMap",
    "HashSet",
    "std::env",
    "std::fs",
    "std::thread",
];

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

#[test]
fn decisions_use_no_client_clock_randomness_or_async() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut violations = Vec::new();
    for folder in PURE {
        let mut files = Vec::new();
        sources(&root.join(folder), &mut files);
        assert!(!files.is_empty(), "{folder} has no source");
        for file in files.iter().filter(|file| !file.to_string_lossy().contains("test")) {
            let text = std::fs::read_to_string(file).unwrap();
            let code = text.split("#[cfg(test)]").next().unwrap_or_default();
            for (number, line) in code.lines().enumerate().filter(|(_, line)| !line.trim_start().starts_with("//")) {
                if let Some(word) = BANNED.iter().find(|word| line.contains(**word)) {
                    violations.push(format!("{}:{}: {word}", file.display(), number + 1));
                }
            }
        }
    }
    assert!(violations.is_empty(), "{violations:#?}");
}
