//! One component's properties, checked against its table.
//!
//! Control plane only. What is always true of a [`Section`]: each value in it parses as its key's kind,
//! comments are off where blanks cannot be meant, and each key it was made from is either in it or
//! in a finding.

use std::collections::BTreeMap;

use super::comment;
use super::diagnostic::{Finding, Findings, Place};
use super::schema::{Component, Fate, Key, Kind, Role};

/// A value of the files, references resolved, trimmed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Value {
    /// The text.
    pub text: String,
    /// Where it begins.
    pub place: Place,
    /// The whole key.
    pub key: String,
}

/// Properties below one prefix, by the rest of the key.
pub type Raw = BTreeMap<String, Value>;

/// Those of `raw` below `prefix`.
pub fn below(raw: &Raw, prefix: &str) -> Raw {
    let strip = |(key, value): (&String, &Value)| {
        Some((key.strip_prefix(prefix)?.to_owned(), value.clone()))
    };
    raw.iter().filter_map(strip).collect()
}

/// Checked properties of one component.
#[derive(Debug)]
pub struct Section {
    component: &'static Component,
    values: Raw,
}

impl Section {
    /// Checks `raw` against `component`'s table. `path` is the component's prefix, `anchor` the place
    /// for what has none: where the component is named.
    pub fn check(
        component: &'static Component,
        path: &str,
        anchor: &Place,
        raw: &Raw,
        findings: &mut Findings,
    ) -> Self {
        let mut section = Self {
            component,
            values: Raw::new(),
        };
        let tls = raw
            .get("ssl")
            .is_some_and(|ssl| ssl.text.eq_ignore_ascii_case("true"));
        for (name, value) in raw {
            match component.key(name) {
                None => findings.add(unknown(component, name, value, raw)),
                Some(key) => section.take(key, name, value, tls, findings),
            }
        }
        for key in component
            .keys
            .iter()
            .filter(|key| key.required && !section.values.contains_key(key.name))
        {
            if raw
                .get(key.name)
                .is_some_and(|value| !value.text.is_empty())
            {
                continue; // Its value is wrong, and that was said.
            }
            findings.add(
                Finding::error(
                    "missing-key",
                    format!(
                        "The {} needs `{}`: {}",
                        component.role.word(),
                        key.name,
                        lower(key.meaning)
                    ),
                )
                .at(anchor)
                .key(format!("{path}.{}", key.name))
                .flume(format!(
                    "removes the {} and starts without it.",
                    component.role.word()
                ))
                .remedy(format!("Add `{path}.{} = …`.", key.name)),
            );
        }
        section
    }

    fn take(
        &mut self,
        key: &'static Key,
        name: &str,
        value: &Value,
        tls: bool,
        findings: &mut Findings,
    ) {
        if value.text.is_empty() {
            // An empty text where the default is empty says nothing, and loses nothing.
            if key.default != Some("") {
                findings.add(
                    Finding::warning("empty-value", "The value is empty, so the default counts.")
                        .at(&value.place)
                        .key(&value.key)
                        .flume("drops it: Configuration property ignored.")
                        .remedy("Write a value, or remove the line."),
                );
            }
            return;
        }
        match key.fate {
            Fate::Used if matches!(name, "type" | "processor.type") => {
                // Whoever looked the type up has spoken about its comment.
                let text = comment::split(&value.text).map_or(value.text.as_str(), |parts| parts.0);
                self.values.insert(
                    name.to_owned(),
                    Value {
                        text: text.to_owned(),
                        ..value.clone()
                    },
                );
            }
            Fate::Used => {
                if let Some(clean) = clean(key.kind, value, self.component, findings) {
                    self.values.insert(
                        name.to_owned(),
                        Value {
                            text: clean,
                            ..value.clone()
                        },
                    );
                }
            }
            Fate::Inert(why) => {
                if key.kind != Kind::Text {
                    let Some(clean) = clean(key.kind, value, self.component, findings) else {
                        return;
                    };
                    if Some(clean.as_str()) == key.default {
                        return;
                    }
                }
                findings.add(
                    Finding::note("no-effect", format!("`{name}` has no effect here: {why}"))
                        .at(&value.place)
                        .key(&value.key)
                        .remedy("The line can go."),
                );
            }
            Fate::Planned(why) => planned(key, name, value, tls, why, findings),
            Fate::Old(new) => {
                findings.add(
                    Finding::warning("old-key", format!("`{name}` is the old name of `{new}`."))
                        .at(&value.place)
                        .key(&value.key)
                        .flume("accepts it with a warning; later versions do not.")
                        .remedy(format!("Write `{new}`.")),
                );
                let known = self
                    .component
                    .key(new)
                    .expect("an old key names a key of its table");
                if !self.values.contains_key(new)
                    && let Some(clean) = clean(key.kind, value, self.component, findings)
                {
                    assert!(
                        known.fate == Fate::Used,
                        "an old key stands for one that is used"
                    );
                    self.values.insert(
                        new.to_owned(),
                        Value {
                            text: clean,
                            ..value.clone()
                        },
                    );
                }
            }
        }
    }

    /// The value as text, or the table's default.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.values
            .get(name)
            .map(|value| value.text.as_str())
            .or_else(|| self.table(name).default)
    }

    /// The value as text; empty without value and default.
    pub fn string(&self, name: &str) -> String {
        self.text(name).unwrap_or_default().to_owned()
    }

    /// The value as text, if it was written.
    pub fn written(&self, name: &str) -> Option<&Value> {
        self.values.get(name)
    }

    /// The value as a number, or the table's default.
    pub fn integer(&self, name: &str) -> Option<i64> {
        let text = self.text(name)?;
        Some(
            text.parse()
                .expect("values and defaults of integer keys were parsed"),
        )
    }

    /// The value as a number of the type that the caller's table range fits in.
    pub fn number<T: TryFrom<i64> + Default>(&self, name: &str) -> T {
        let number = self.integer(name).unwrap_or_default();
        T::try_from(number)
            .ok()
            .expect("the table's range fits the type")
    }

    /// The value as a flag.
    pub fn boolean(&self, name: &str) -> bool {
        self.text(name) == Some("true")
    }

    /// The value's words.
    pub fn words(&self, name: &str) -> Vec<String> {
        self.text(name)
            .unwrap_or_default()
            .split_whitespace()
            .map(str::to_owned)
            .collect()
    }

    /// Values below `prefix`.
    pub fn below(&self, prefix: &str) -> Raw {
        below(&self.values, prefix)
    }

    fn table(&self, name: &str) -> &'static Key {
        self.component
            .key(name)
            .unwrap_or_else(|| panic!("`{name}` is not a key of {}", self.component.name()))
    }
}

/// Whether a key's value must not be shown.
pub fn is_secret(key: &str) -> bool {
    let key = key.to_ascii_lowercase();
    [
        "password",
        "passwd",
        "secret",
        "token",
        "jaas",
        "keystore.key",
        ".pem",
    ]
    .iter()
    .any(|word| key.contains(word))
}

fn lower(sentence: &str) -> String {
    let mut characters = sentence.chars();
    characters
        .next()
        .map(|first| first.to_lowercase().chain(characters).collect())
        .unwrap_or_default()
}

fn unknown(component: &Component, name: &str, value: &Value, raw: &Raw) -> Finding {
    let nearest = component.nearest(name);
    let remedy = match nearest {
        Some(known) => format!("Did you mean `{known}`?"),
        None => "Remove the line, or correct the name.".to_owned(),
    };
    let meant = nearest
        .filter(|known| !raw.contains_key(*known))
        .and_then(|known| component.key(known));
    let stays = match meant.and_then(|key| Some((key.name, key.default?))) {
        Some((known, default)) if !default.is_empty() => {
            format!(", and `{known}` stays at {default}")
        }
        _ => String::new(),
    };
    let what = component.role.word();
    Finding::warning(
        "unknown-key",
        format!(
            "The {} {what} does not read `{name}`; it has no effect{stays}.",
            component.name()
        ),
    )
    .at(&value.place)
    .key(&value.key)
    .flume("does not read it, and does not say so.")
    .remedy(remedy)
}

fn planned(key: &Key, name: &str, value: &Value, tls: bool, why: &str, findings: &mut Findings) {
    let off = key.kind == Kind::Boolean && !value.text.eq_ignore_ascii_case("true");
    if off {
        return;
    }
    let belongs_to_tls = why.starts_with("TLS") && name != "ssl";
    let finding = if belongs_to_tls && !tls {
        Finding::note(
            "no-effect",
            format!("`{name}` has no effect without `ssl = true`."),
        )
        .remedy("The line can go.")
    } else {
        Finding::error(
            "not-yet",
            format!("`{name}` cannot be honoured: {}", first_sentence(why)),
        )
        .flume("honours it.")
        .remedy(after_first_sentence(why))
    };
    findings.add(finding.at(&value.place).key(&value.key));
}

fn first_sentence(text: &str) -> &str {
    text.find(". ").map_or(text, |end| &text[..=end])
}

fn after_first_sentence(text: &str) -> &str {
    text.find(". ").map_or(text, |end| &text[end + 2..])
}

/// The value without its inline comment, which a warning names.
pub fn without_comment(value: &Value, flume: &str, findings: &mut Findings) -> String {
    let Some((before, comment)) = comment::split(&value.text) else {
        return value.text.clone();
    };
    findings.add(
        Finding::warning("inline-comment", format!("`{comment}` is part of the value by the rules of the file; it is read as the comment it was meant to be, and the value as `{before}`."))
            .at(&value.place)
            .key(&value.key)
            .flume(flume)
            .remedy("Move the comment to a line of its own."),
    );
    before.to_owned()
}

/// The value as its kind has it, or a finding.
fn clean(
    kind: Kind,
    value: &Value,
    component: &Component,
    findings: &mut Findings,
) -> Option<String> {
    let removed = format!(
        "removes the {} and starts without it.",
        component.role.removed()
    );
    let refuse = |message: String, findings: &mut Findings| {
        findings.add(
            Finding::error("bad-value", message)
                .at(&value.place)
                .key(&value.key)
                .flume(removed.clone())
                .remedy("Correct the value."),
        );
        None
    };
    match kind {
        Kind::Text => {
            if let Some((_, comment)) =
                comment::split(&value.text).filter(|_| !is_secret(&value.key))
            {
                findings.add(
                    Finding::warning("comment-in-text", format!("`{comment}` looks like an inline comment, but belongs to this text and is kept."))
                        .at(&value.place)
                        .key(&value.key)
                        .flume("keeps it as part of the value, too.")
                        .remedy("If it is a comment, move it to a line of its own."),
                );
            }
            Some(value.text.clone())
        }
        Kind::Words => Some(without_comment(
            value,
            "takes each word of it for a name.",
            findings,
        )),
        Kind::Word => {
            let text = without_comment(value, "takes all of it for the value.", findings);
            if text.contains(char::is_whitespace) {
                return refuse(format!("`{text}` must be one word."), findings);
            }
            Some(text)
        }
        Kind::Integer { min, max } => {
            let lenient = component.role == Role::SinkGroup
                || (component.role == Role::Sink && component.alias == "avro");
            let flume = if lenient {
                "cannot parse it and goes on as if the line were not there.".to_owned()
            } else {
                format!("cannot parse it and {removed}")
            };
            let text = without_comment(value, &flume, findings);
            match text.parse::<i64>() {
                Ok(number) if (min..=max).contains(&number) => Some(number.to_string()),
                Ok(_) => refuse(
                    format!("`{text}` is out of range: {}.", range(min, max)),
                    findings,
                ),
                Err(_) => refuse(format!("`{text}` is not a whole number."), findings),
            }
        }
        Kind::Boolean => {
            let text = without_comment(
                value,
                "reads everything but the bare word `true` as false.",
                findings,
            );
            if text.eq_ignore_ascii_case("true") || text.eq_ignore_ascii_case("false") {
                return Some(text.to_ascii_lowercase());
            }
            findings.add(
                Finding::warning(
                    "not-a-boolean",
                    format!("`{text}` is neither true nor false; it counts as false."),
                )
                .at(&value.place)
                .key(&value.key)
                .flume("reads everything but `true` as false.")
                .remedy("Write `true` or `false`."),
            );
            Some("false".to_owned())
        }
        Kind::Choice(choices) => {
            let text = without_comment(value, &removed, findings);
            match choices
                .iter()
                .find(|choice| choice.eq_ignore_ascii_case(&text))
            {
                Some(choice) => Some((*choice).to_owned()),
                None => refuse(
                    format!("`{text}` is not one of {}.", choices.join(", ")),
                    findings,
                ),
            }
        }
    }
}

fn range(min: i64, max: i64) -> String {
    match (min, max) {
        (i64::MIN, max) => format!("at most {max}"),
        (min, i64::MAX) => format!("at least {min}"),
        (min, max) => format!("{min} to {max}"),
    }
}
