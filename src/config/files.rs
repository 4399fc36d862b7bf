//! The files of the command line, read and merged: one value per key, its place, and what was said twice.
//!
//! Control plane only. What is always true: of a key written several times the last counts, as in
//! Flume, over the borders of files too.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;

use super::diagnostic::{Finding, Findings};
use super::properties::{self, Property};
use super::section::{Value, is_secret};
use super::substitute::{self, Lookups, Reason};
use super::surroundings::Surroundings;

/// Merged text of all files.
#[derive(Debug, Default)]
pub struct Files {
    /// By full key; references not yet resolved.
    properties: BTreeMap<String, Property>,
    /// Findings about the files as such.
    pub findings: Findings,
}

impl Files {
    /// Reads `paths` in order. A file that cannot be read is an error among the findings.
    pub fn read(paths: &[PathBuf]) -> Self {
        let mut files = Self::default();
        for (index, path) in paths.iter().enumerate() {
            let name: Arc<str> = Arc::from(path.to_string_lossy());
            match std::fs::read(path) {
                Ok(bytes) => files.add(&bytes, &name, index),
                Err(error) => files.findings.add(
                    Finding::error("unreadable-file", format!("Unable to read {name}: {error}"))
                        .flume("logs it as a fatal error and exits with code 0.")
                        .remedy("Check the path given with --conf-file, and its permissions."),
                ),
            }
        }
        files
    }

    /// Adds the text of one file.
    pub fn add(&mut self, bytes: &[u8], name: &Arc<str>, index: usize) {
        let (properties, findings) = properties::parse(bytes, name, index);
        self.findings.extend(findings);
        for property in properties {
            if let Some(earlier) = self.properties.get(&property.key) {
                let place = &earlier.key_place;
                let said = format!("The key was already set at {}:{}", place.file, place.line);
                let message = if earlier.value.trim() == property.value.trim() {
                    format!("{said}, to the same value.")
                } else if is_secret(&property.key) {
                    format!("{said}, to another value; the last counts.")
                } else {
                    format!(
                        "{said} to `{}`; the last counts, `{}`.",
                        earlier.value.trim(),
                        property.value.trim()
                    )
                };
                self.findings.add(
                    Finding::warning("duplicate-key", message)
                        .at(&property.key_place)
                        .key(&property.key)
                        .flume("lets the last one win, without a word.")
                        .remedy("Remove one of the two lines."),
                );
            }
            self.properties.insert(property.key.clone(), property);
        }
    }

    /// Names of the agents that the files configure: whatever has a list of components.
    pub fn agents(&self) -> Vec<String> {
        let lists = ["sources", "channels", "sinks"];
        let agents: BTreeSet<&str> = self
            .properties
            .keys()
            .filter_map(|key| key.split_once('.'))
            .filter(|(_, rest)| lists.contains(rest))
            .map(|(agent, _)| agent)
            .collect();
        agents.into_iter().map(str::to_owned).collect()
    }

    /// First segments of all keys, each with its first property.
    pub fn first_segments(&self) -> BTreeMap<&str, &Property> {
        let mut segments = BTreeMap::new();
        for (key, property) in &self.properties {
            segments
                .entry(key.split('.').next().unwrap_or(key))
                .or_insert(property);
        }
        segments
    }

    /// Values below `<agent>.`, references resolved, trimmed; the rest of the key first.
    pub fn below_agent(
        &self,
        agent: &str,
        surroundings: &Surroundings,
        findings: &mut Findings,
    ) -> BTreeMap<String, Value> {
        let raw: BTreeMap<String, String> = self
            .properties
            .iter()
            .map(|(key, p)| (key.clone(), p.value.trim().to_owned()))
            .collect();
        let lookups = Lookups {
            environment: &surroundings.environment,
            system: &surroundings.system,
            keys: &raw,
            plain_environment: surroundings
                .system
                .get("propertiesImplementation")
                .is_some_and(|class| class == "org.apache.flume.node.EnvVarResolverProperties"),
            now_ms: surroundings.now_ms,
        };
        let prefix = format!("{agent}.");
        let mut values = BTreeMap::new();
        for (key, property) in &self.properties {
            let Some(rest) = key.trim().strip_prefix(&prefix) else {
                continue;
            };
            let substituted = substitute::substitute(property.value.trim(), &lookups);
            for (reference, reason) in &substituted.unresolved {
                findings.add(
                    unresolved(reference, *reason)
                        .at(&property.value_place)
                        .key(key),
                );
            }
            let value = Value {
                text: substituted.text.trim().to_owned(),
                place: property.value_place.clone(),
                key: key.trim().to_owned(),
            };
            values.insert(rest.to_owned(), value);
        }
        values
    }
}

fn unresolved(reference: &str, reason: Reason) -> Finding {
    let stays = "leaves the text as it is.";
    match reason {
        Reason::Unknown => Finding::warning("unresolved-reference", format!("{reference} cannot be resolved and stays as it is."))
            .flume(stays)
            .remedy("Set the variable, give a default (`${…:-default}`), or write `$${` for a literal `${`."),
        Reason::Endless => Finding::error("unresolved-reference", format!("{reference} contains itself, or grows without end."))
            .flume("fails with an exception.")
            .remedy("Break the circle."),
        Reason::Filter => Finding::error("not-yet", format!("{reference} asks a config filter, and config filters are not built yet."))
            .flume("puts the secret in its place.")
            .remedy("Use an environment variable, `${env:NAME}`."),
        Reason::Java => Finding::warning("unresolved-reference", format!("{reference} needs a JVM and stays as it is."))
            .flume("resolves it from the JVM.")
            .remedy("Use `${env:NAME}` or `${sys:name}`."),
        Reason::DatePattern => Finding::warning("unresolved-reference", format!("{reference} has a pattern letter that is not known, and stays as it is."))
            .flume("formats the date with Java's SimpleDateFormat.")
            .remedy("Use y, M, d, D, H, m, s and S."),
    }
}
