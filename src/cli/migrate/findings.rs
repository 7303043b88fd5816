//! What was looked at before anything is done.

use std::fmt;

/// How much something that was found matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Weight {
    Fine,
    /// To be known; nothing stands in the way.
    Note,
    /// Stands in the way unless `--force` is given.
    Doubt,
    /// Stands in the way.
    Refusal,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    pub weight: Weight,
    pub text: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mark = match self.weight {
            Weight::Fine => "ok",
            Weight::Note => "note",
            Weight::Doubt | Weight::Refusal => "no",
        };
        write!(formatter, "{mark:<4}  {}", self.text)
    }
}

/// All that was found, in the order in which it was looked at.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Findings(pub Vec<Finding>);

impl Findings {
    pub fn add(&mut self, weight: Weight, text: impl Into<String>) {
        self.0.push(Finding { weight, text: text.into() });
    }

    pub fn fine(&mut self, text: impl Into<String>) {
        self.add(Weight::Fine, text);
    }

    pub fn note(&mut self, text: impl Into<String>) {
        self.add(Weight::Note, text);
    }

    pub fn doubt(&mut self, text: impl Into<String>) {
        self.add(Weight::Doubt, text);
    }

    pub fn refuse(&mut self, text: impl Into<String>) {
        self.add(Weight::Refusal, text);
    }

    /// What keeps the work from being begun, in words; `None`: nothing. `done`: what was done so far.
    pub fn obstacle(&self, force: Force, done: &str) -> Option<String> {
        let count = |weight: Weight| self.0.iter().filter(|one| one.weight == weight).count();
        let (refusals, doubts) = (count(Weight::Refusal), count(Weight::Doubt));
        match (refusals, doubts) {
            (0, 0) => None,
            (0, _) if force == Force::GoOn => None,
            (0, _) => Some(format!("{done}; --force goes on in spite of what is marked \"no\" above")),
            _ => Some(format!("{done}: what is marked \"no\" above stands in the way")),
        }
    }
}

/// `--force`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Force {
    Stop,
    GoOn,
}

impl From<bool> for Force {
    fn from(given: bool) -> Force {
        if given { Force::GoOn } else { Force::Stop }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doubts_can_be_overruled_and_refusals_cannot() {
        let mut findings = Findings::default();
        findings.note("n");
        let obstacle = |findings: &Findings, force| findings.obstacle(force, "nothing was done");
        assert_eq!(obstacle(&findings, Force::Stop), None);
        findings.doubt("d");
        assert!(obstacle(&findings, Force::Stop).is_some_and(|text| text.contains("--force")));
        assert_eq!(obstacle(&findings, Force::GoOn), None);
        findings.refuse("r");
        assert!(obstacle(&findings, Force::GoOn).is_some());
    }
}
