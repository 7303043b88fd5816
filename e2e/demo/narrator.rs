//! What the demo says: a line for each step, with the time since the start.

use std::time::Instant;

use crate::harness::cluster::Info;
use crate::harness::install::kubectl;
use crate::harness::{Context, Result};

pub struct Narrator {
    started: Instant,
}

impl Narrator {
    pub fn start() -> Self {
        Self { started: Instant::now() }
    }

    pub fn elapsed_seconds(&self) -> f64 {
        self.started.elapsed().as_secs_f64()
    }

    /// One line.
    pub fn say(&self, text: &str) {
        println!("[{:5.1} s] {text}", self.elapsed_seconds());
    }

    /// A command that a person would type.
    pub fn show(&self, command: &str) {
        println!("          $ {command}");
    }

    /// Lines that a command printed.
    pub fn print(&self, lines: &str) {
        for line in lines.lines() {
            println!("          {line}");
        }
    }

    /// Shows a kubectl command, runs it, and shows what it printed.
    pub async fn kubectl(&self, info: &Info, arguments: &[&str]) -> Result {
        self.show(&format!("kubectl {}", arguments.iter().map(|word| quoted(word)).collect::<Vec<_>>().join(" ")));
        let (info, owned) = (info.clone(), arguments.iter().map(|&word| word.to_owned()).collect::<Vec<_>>());
        let run = tokio::task::spawn_blocking(move || {
            let words: Vec<&str> = owned.iter().map(String::as_str).collect();
            kubectl(&info, &words, None)
        });
        self.print(&run.await.context("kubectl's thread")??);
        Ok(())
    }
}

/// As a shell takes it.
fn quoted(word: &str) -> String {
    let plain = |character: char| character.is_ascii_alphanumeric() || "-_./=:,@".contains(character);
    if word.chars().all(plain) { word.to_owned() } else { format!("'{word}'") }
}
