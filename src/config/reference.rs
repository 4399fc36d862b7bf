//! The tables of `docs/CONFIGURATION.md`, made from the catalogue so that they cannot drift apart.
//!
//! Used by a test, which holds the document to it.

use std::fmt::Write as _;

use super::schema::{Component, Fate, Key, Kind, Role, Support};
use super::{catalogue, kafka_producer};

/// All tables, as Markdown.
pub fn markdown() -> String {
    let mut text = String::new();
    let roles = [
        (Role::Source, "Sources"),
        (Role::Interceptor, "Interceptors"),
        (Role::Selector, "Channel selectors"),
        (Role::Channel, "Channels"),
        (Role::Sink, "Sinks"),
    ];
    for (role, title) in roles {
        push(&mut text, format_args!("## {title}\n\n"));
        let runs =
            |component: &&Component| component.role == role && component.support == Support::Runs;
        for component in catalogue::components().filter(runs) {
            table(&mut text, component);
        }
    }
    text.push_str("## Options of the Kafka producer\n\n`kafka.producer.<option>` of the Kafka sink.\n\n| option | becomes |\n| --- | --- |\n");
    for (name, fate) in kafka_producer::options() {
        push(&mut text, format_args!("| `{name}` | {fate} |\n"));
    }
    text.push_str("\n## Components that are refused\n\n| component | alias | class | instead |\n| --- | --- | --- | --- |\n");
    for component in catalogue::components() {
        let (when, remedy) = match component.support {
            Support::Runs => continue,
            Support::Planned(remedy) => ("later", remedy),
            Support::Never(remedy) => ("no", remedy),
        };
        push(
            &mut text,
            format_args!(
                "| {} ({when}) | `{}` | `{}` | {remedy} |\n",
                component.role.word(),
                component.name(),
                component.class
            ),
        );
    }
    text
}

fn push(text: &mut String, piece: std::fmt::Arguments<'_>) {
    text.write_fmt(piece)
        .expect("writing to a String cannot fail");
}

fn table(text: &mut String, component: &Component) {
    push(text, format_args!("### {}\n\n", component.name()));
    if !component.alias.is_empty() {
        push(
            text,
            format_args!("`type = {}`, in any case, or ", component.alias),
        );
    }
    push(text, format_args!("`type = {}`.\n\n", component.class));
    text.push_str("| property | values | default | meaning | here, compared with Flume |\n| --- | --- | --- | --- | --- |\n");
    for key in component.keys {
        push(
            text,
            format_args!(
                "| `{}` | {} | {} | {} | {} |\n",
                key.name.replace('*', "<name>"),
                values(key.kind),
                default(key),
                escape(key.meaning),
                escape(&fate(key))
            ),
        );
    }
    text.push('\n');
}

fn escape(text: &str) -> String {
    text.replace('|', "\\|")
}

fn values(kind: Kind) -> String {
    match kind {
        Kind::Text => "text".to_owned(),
        Kind::Word => "word".to_owned(),
        Kind::Words => "words".to_owned(),
        Kind::Boolean => "true, false".to_owned(),
        Kind::Choice(choices) => choices.join(", "),
        Kind::Integer {
            min: i64::MIN,
            max: i64::MAX,
        } => "number".to_owned(),
        Kind::Integer { min: i64::MIN, max } => format!("≤ {max}"),
        Kind::Integer { min, max: i64::MAX } => format!("≥ {min}"),
        Kind::Integer { min, max } => format!("{min} … {max}"),
    }
}

fn default(key: &Key) -> String {
    match key.default {
        Some("") => "empty".to_owned(),
        Some(default) => format!("`{default}`"),
        None if key.required => "required".to_owned(),
        None => "–".to_owned(),
    }
}

fn fate(key: &Key) -> String {
    match key.fate {
        Fate::Used if key.difference.is_empty() => "the same".to_owned(),
        Fate::Used => key.difference.to_owned(),
        Fate::Inert(why) => format!("No effect: {why}"),
        Fate::Planned(why) => format!("Refused: {why}"),
        Fate::Old(new) => format!("Old name of `{new}`; accepted with a warning."),
    }
}
