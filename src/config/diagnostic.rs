//! Findings about a configuration: where, what, what Flume would do, what to do instead.
//!
//! Control plane only; made by the thread that loads a configuration. Findings are rendered in one
//! fixed order (file, line, column, severity, rule), so that two runs over the same files print the
//! same bytes.

use std::fmt::Write as _;
use std::sync::Arc;

use serde::Serialize;

/// Where in the files something stands. Lines and columns count from 1, columns in characters.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Place {
    /// Number of the file in the order of the command line: the order findings are printed in.
    #[serde(skip)]
    pub file_index: usize,
    /// The file as it was named on the command line.
    #[serde(serialize_with = "as_text")]
    pub file: Arc<str>,
    /// Line of the file, from 1.
    pub line: u32,
    /// Character of the line, from 1.
    pub column: u32,
}

fn as_text<S: serde::Serializer>(file: &Arc<str>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(file)
}

impl std::fmt::Display for Place {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{}:{}:{}", self.file, self.line, self.column)
    }
}

/// How much a finding matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The configuration cannot work as written. The agent is refused.
    Error,
    /// It works, but not as its author may think.
    Warning,
    /// Worth knowing once.
    Note,
}

impl Severity {
    /// The word that opens a rendered finding.
    pub fn word(self) -> &'static str {
        match self {
            Severity::Error => "error",
            Severity::Warning => "warning",
            Severity::Note => "note",
        }
    }
}

/// One finding.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// How much it matters.
    pub severity: Severity,
    /// Stable name of the rule, for scripts.
    pub rule: &'static str,
    /// Where; none for the command line.
    pub place: Option<Place>,
    /// The key, or the option of the command line.
    pub key: Option<String>,
    /// What is the matter, as sentences.
    pub message: String,
    /// What Flume would do.
    pub flume: Option<String>,
    /// What to do.
    pub remedy: Option<String>,
}

impl Finding {
    /// A finding without a place yet.
    pub fn new(severity: Severity, rule: &'static str, message: impl Into<String>) -> Self {
        Self {
            severity,
            rule,
            place: None,
            key: None,
            message: message.into(),
            flume: None,
            remedy: None,
        }
    }

    /// An error without a place yet.
    pub fn error(rule: &'static str, message: impl Into<String>) -> Self {
        Self::new(Severity::Error, rule, message)
    }

    /// A warning without a place yet.
    pub fn warning(rule: &'static str, message: impl Into<String>) -> Self {
        Self::new(Severity::Warning, rule, message)
    }

    /// A note without a place yet.
    pub fn note(rule: &'static str, message: impl Into<String>) -> Self {
        Self::new(Severity::Note, rule, message)
    }

    /// The same finding, at `place`.
    #[must_use]
    pub fn at(mut self, place: &Place) -> Self {
        self.place = Some(place.clone());
        self
    }

    /// The same finding, about `key`.
    #[must_use]
    pub fn key(mut self, key: impl Into<String>) -> Self {
        self.key = Some(key.into());
        self
    }

    /// The same finding, with what Flume does.
    #[must_use]
    pub fn flume(mut self, flume: impl Into<String>) -> Self {
        self.flume = Some(flume.into());
        self
    }

    /// The same finding, with what to do.
    #[must_use]
    pub fn remedy(mut self, remedy: impl Into<String>) -> Self {
        self.remedy = Some(remedy.into());
        self
    }

    /// As a compiler would print it: one head line, then the sentences, each on its own line.
    pub fn render(&self) -> String {
        let mut text = format!("{}[{}]", self.severity.word(), self.rule);
        if let Some(place) = &self.place {
            push(&mut text, format_args!(": {place}"));
        }
        if let Some(key) = &self.key {
            push(&mut text, format_args!(": {key}"));
        }
        push(&mut text, format_args!("\n  {}\n", self.message));
        if let Some(flume) = &self.flume {
            push(&mut text, format_args!("  Flume: {flume}\n"));
        }
        if let Some(remedy) = &self.remedy {
            push(&mut text, format_args!("  remedy: {remedy}\n"));
        }
        text
    }
}

fn push(text: &mut String, piece: std::fmt::Arguments<'_>) {
    text.write_fmt(piece)
        .expect("writing to a String cannot fail");
}

/// Findings in the order they are shown.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Findings(Vec<Finding>);

impl Findings {
    /// No findings yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds one. The same finding at the same place is kept once.
    pub fn add(&mut self, finding: Finding) {
        if !self.0.contains(&finding) {
            self.0.push(finding);
        }
    }

    /// Adds one, if there is one.
    pub fn extend_with(&mut self, finding: Option<Finding>) {
        if let Some(finding) = finding {
            self.add(finding);
        }
    }

    /// Adds all of `other`.
    pub fn extend(&mut self, other: Findings) {
        for finding in other.0 {
            self.add(finding);
        }
    }

    /// Sorts into the order of the files; what has no place stands last.
    pub fn sort(&mut self) {
        self.0.sort_by(|a, b| {
            (
                a.place.is_none(),
                &a.place,
                a.severity,
                a.rule,
                &a.key,
                &a.message,
            )
                .cmp(&(
                    b.place.is_none(),
                    &b.place,
                    b.severity,
                    b.rule,
                    &b.key,
                    &b.message,
                ))
        });
    }

    /// In the order of the files, if [`Findings::sort`] was called.
    pub fn iter(&self) -> std::slice::Iter<'_, Finding> {
        self.0.iter()
    }

    /// How many of one severity.
    pub fn count(&self, severity: Severity) -> usize {
        self.0
            .iter()
            .filter(|finding| finding.severity == severity)
            .count()
    }

    /// Whether any is an error.
    pub fn has_errors(&self) -> bool {
        self.count(Severity::Error) > 0
    }

    /// All findings as text, a blank line between two, and a closing sentence with the counts.
    pub fn render(&self) -> String {
        let mut text = String::new();
        for finding in &self.0 {
            text.push_str(&finding.render());
            text.push('\n');
        }
        text.push_str(&self.summary());
        text.push('\n');
        text
    }

    /// `2 errors, 1 warning, 0 notes`.
    pub fn summary(&self) -> String {
        let part = |severity: Severity| {
            let count = self.count(severity);
            format!(
                "{count} {}{}",
                severity.word(),
                if count == 1 { "" } else { "s" }
            )
        };
        format!(
            "{}, {}, {}",
            part(Severity::Error),
            part(Severity::Warning),
            part(Severity::Note)
        )
    }

    /// All findings as one JSON document for scripts.
    pub fn json(&self) -> String {
        #[derive(Serialize)]
        struct Report<'a> {
            errors: usize,
            warnings: usize,
            notes: usize,
            findings: &'a [Finding],
        }
        let report = Report {
            errors: self.count(Severity::Error),
            warnings: self.count(Severity::Warning),
            notes: self.count(Severity::Note),
            findings: &self.0,
        };
        serde_json::to_string_pretty(&report).expect("findings are plain text and numbers")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(line: u32) -> Place {
        Place {
            file_index: 0,
            file: Arc::from("a.conf"),
            line,
            column: 5,
        }
    }

    #[test]
    fn findings_are_shown_in_the_order_of_the_files() {
        let mut findings = Findings::new();
        findings.add(Finding::note("n", "no place"));
        findings.add(Finding::warning("w", "later").at(&place(9)));
        findings.add(
            Finding::error("e", "earlier")
                .at(&place(2))
                .key("a.b")
                .flume("x.")
                .remedy("y."),
        );
        findings.add(Finding::warning("w", "later").at(&place(9)));
        findings.sort();
        assert_eq!(
            findings.render(),
            "error[e]: a.conf:2:5: a.b\n  earlier\n  Flume: x.\n  remedy: y.\n\n\
             warning[w]: a.conf:9:5\n  later\n\nnote[n]\n  no place\n\n1 error, 1 warning, 1 note\n"
        );
    }

    #[test]
    fn json_holds_place_and_counts() {
        let mut findings = Findings::new();
        findings.add(Finding::error("e", "m").at(&place(2)));
        let value: serde_json::Value = serde_json::from_str(&findings.json()).unwrap();
        assert_eq!(value["errors"], 1);
        assert_eq!(value["findings"][0]["place"]["line"], 2);
        assert_eq!(value["findings"][0]["severity"], "error");
    }
}
