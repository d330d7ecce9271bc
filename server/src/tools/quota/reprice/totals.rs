//! What a run came to, by model and service.

use std::collections::BTreeMap;

use domain::Credits;

use crate::output::table;

/// The sums of a run.
#[derive(Debug, Default)]
pub(super) struct Totals(BTreeMap<(String, String), Line>);

#[derive(Debug, Clone, Copy, Default)]
struct Line {
    entries: u64,
    wrong: u64,
    charged: Credits,
    right: Credits,
}

impl Line {
    fn plus(self, other: Self) -> Self {
        Self {
            entries: self.entries + other.entries,
            wrong: self.wrong + other.wrong,
            charged: self.charged.plus(other.charged),
            right: self.right.plus(other.right),
        }
    }

    fn row(self, model: &str, service: &str) -> Vec<String> {
        vec![
            model.to_owned(),
            service.to_owned(),
            self.entries.to_string(),
            self.wrong.to_string(),
            self.charged.to_string(),
            self.right.to_string(),
            self.right.minus(self.charged).to_string(),
        ]
    }
}

impl Totals {
    /// Adds an entry: what was charged for it so far, and what is right.
    pub(super) fn add(&mut self, model: &str, service: &str, charged: Credits, right: Credits) {
        let wrong = u64::from(charged != right);
        let line = self.0.entry((model.to_owned(), service.to_owned())).or_default();
        *line = line.plus(Line { entries: 1, wrong, charged, right });
    }

    /// Entries whose price was wrong.
    pub(super) fn wrong(&self) -> u64 {
        self.0.values().map(|line| line.wrong).sum()
    }

    pub(super) fn print(&self) {
        let heading = ["MODEL", "SERVICE", "ENTRIES", "WRONG", "CHARGED", "RIGHT", "DIFFERENCE"];
        table(&heading, &self.rows());
    }

    fn rows(&self) -> Vec<Vec<String>> {
        let lines = self.0.iter().map(|((model, service), line)| line.row(model, service));
        let total = self.0.values().fold(Line::default(), |sum, line| sum.plus(*line));
        lines.chain([total.row("total", "")]).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_summed_by_model_and_service() {
        let credits = |text: &str| text.parse::<Credits>().unwrap();
        let mut totals = Totals::default();
        totals.add("m", "chat", credits("0.1"), credits("0.3"));
        totals.add("m", "chat", credits("0.2"), credits("0.2"));
        totals.add("m", "writing", credits("1"), Credits::ZERO);
        assert_eq!(totals.wrong(), 2);
        assert_eq!(
            totals.rows(),
            [
                ["m", "chat", "2", "1", "0.3", "0.5", "0.2"],
                ["m", "writing", "1", "1", "1", "0", "-1"],
                ["total", "", "3", "2", "1.3", "0.5", "-0.8"],
            ]
        );
    }
}
