//! What `flumen wal` shows: blocks and events, the shapes of its JSON, and its exit codes when it cannot read.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use serde_json::Value;

use super::wal_site::{Dirs, flip, stopped_log, wal};

#[test]
fn what_cannot_be_read_is_not_called_damage() {
    let (scratch, dirs, _) = stopped_log("wal-unreadable", 5, 50);
    let gone = Dirs {
        data: scratch.path().join("not-mounted"),
        checkpoint: scratch.folder("empty"),
    };
    assert_eq!(gone.wal("verify", &[]).code, 66);
    assert_eq!(gone.wal("ls", &[]).code, 66);
    assert_eq!(dirs.wal("inspect", &["--block", "9999"]).code, 66);
    assert_eq!(dirs.wal("inspect", &["--at", "x"]).code, 64);
    assert_eq!(wal(&["verify"]).code, 64);
    let conf = scratch.file("broken.conf", "a.sources = r\n");
    let conf = conf.display().to_string();
    let answer = wal(&["ls", "-f", &conf, "-n", "a"]);
    assert!([64, 78].contains(&answer.code), "{answer:?}");
}

#[test]
fn inspect_shows_headers_records_and_events() {
    let (_scratch, dirs, _) = stopped_log("wal-inspect", 10, 50);
    let by_event = dirs.wal("inspect", &["--event", "123", "--json"]).json();
    let by_block = dirs.wal("inspect", &["--block", "2", "--json"]).json();
    assert_eq!(by_event, by_block);
    let place = format!(
        "{}:{}",
        by_block["header"]["segment"], by_block["header"]["offset"]
    );
    assert_eq!(
        by_block,
        dirs.wal("inspect", &["--at", &place, "--json"]).json()
    );
    assert_eq!(by_block["header"]["first_event"], 100);
    assert_eq!(by_block["damage"], Value::Null);
    let events = by_block["records"][0]["events"].as_array().unwrap();
    assert_eq!(events.len(), 50);
    assert_eq!(events[23]["event"], 123);
    let line = events[23]["line"].as_str().unwrap();
    assert!(line.starts_with("Event: { headers:{"), "{line}");
    assert!(line.contains("id=log-0-123"), "{line}");
    assert!(line.contains("6C 6F 67 2D 30 2D 31 32 33"), "{line}");
    let text = dirs
        .wal("inspect", &["--block", "2", "--bytes", "4"])
        .text();
    assert!(text.contains("6C 6F 67 2D "), "{text}");
}

/// Names of all fields, however deep.
fn field_names(value: &Value, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                found.insert(name.clone());
                field_names(value, found);
            }
        }
        Value::Array(values) => values.iter().for_each(|value| field_names(value, found)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

#[test]
fn json_has_the_fields_that_the_documents_name() {
    let (scratch, dirs, _) = stopped_log("wal-json", 20, 50);
    flip(&dirs.segment(0), 20);
    let path = scratch.path().join("out").display().to_string();
    let mut names = BTreeSet::new();
    for (command, words) in [
        ("ls", &[][..]),
        ("verify", &[]),
        ("repair", &["--yes"]),
        ("export", &["--all", "-o", &path]),
    ] {
        let words = [words, &["--json"]].concat();
        field_names(&dirs.wal(command, &words).json(), &mut names);
    }
    let (_other, dirs, _) = stopped_log("wal-json-inspect", 5, 50);
    for place in ["1", "1:4096"] {
        let view = dirs.wal("inspect", &["--at", place, "--json"]).json();
        field_names(&view, &mut names);
    }
    assert!(names.len() > 60, "{names:?}");
    let text = ["docs/TOOLS.md", "docs/FORMAT.md"]
        .map(|path| fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap());
    let text = text.concat();
    let words: BTreeSet<&str> = text
        .split(|letter: char| !letter.is_alphanumeric() && letter != '_')
        .collect();
    let missing: Vec<&String> = names
        .iter()
        .filter(|name| !words.contains(name.as_str()))
        .collect();
    assert!(missing.is_empty(), "no document has {missing:?}");
}
