//! Documents are held to each other and to the code.

use std::collections::BTreeSet;
use std::path::Path;

use crate::tree::{documents, files, read, root};

/// Targets of `[text](target)` outside code.
fn links(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut in_code = false;
    for line in text.lines() {
        if line.trim_start().starts_with("```") {
            in_code = !in_code;
        }
        let mut rest = line;
        while let (false, Some((_, after))) = (in_code, rest.split_once("](")) {
            let Some((target, after)) = after.split_once(')') else {
                break;
            };
            found.push(target.to_owned());
            rest = after;
        }
    }
    found
}

/// The anchor that a heading gets.
fn anchor(heading: &str) -> String {
    heading
        .trim_start_matches('#')
        .trim()
        .to_lowercase()
        .chars()
        .filter_map(|letter| match letter {
            ' ' => Some('-'),
            letter if letter.is_alphanumeric() || letter == '-' || letter == '_' => Some(letter),
            _ => None,
        })
        .collect()
}

#[test]
fn links_lead_somewhere() {
    let mut broken = Vec::new();
    for document in documents() {
        let folder = Path::new(&document).parent().unwrap().to_owned();
        for link in links(&read(&document)) {
            if link.contains("://") {
                continue;
            }
            let (path, heading) = link.split_once('#').unwrap_or((&link, ""));
            let target = match path {
                "" => document.clone(),
                path => folder.join(path).to_string_lossy().into_owned(),
            };
            if !root().join(&target).exists() {
                broken.push(format!("{document}: {link}"));
            } else if !heading.is_empty() {
                let text = read(&target);
                let headings = text.lines().filter(|line| line.starts_with('#'));
                if !headings.map(anchor).any(|known| known == heading) {
                    broken.push(format!("{document}: {link}: no such heading"));
                }
            }
        }
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

#[test]
fn every_document_can_be_found() {
    let maps = ["README.md", "docs/ARCHITECTURE.md"].map(read).concat();
    let lost: Vec<String> = files("docs", "")
        .into_iter()
        .filter(|path| {
            let name = Path::new(path)
                .file_name()
                .unwrap()
                .to_string_lossy()
                .into_owned();
            !maps.contains(&name)
        })
        .collect();
    assert!(
        lost.is_empty(),
        "linked neither from README nor from ARCHITECTURE: {lost:?}"
    );
}

/// Fenced blocks whose first line is the head of a byte table.
fn byte_tables(text: &str) -> BTreeSet<String> {
    let mut tables = BTreeSet::new();
    let mut block: Option<String> = None;
    for line in text.lines() {
        block = match (block, line) {
            (None, "```text") => Some(String::new()),
            (Some(table), "```") => {
                if table.starts_with("offset  size") {
                    tables.insert(table);
                }
                None
            }
            (Some(table), line) => Some(table + line + "\n"),
            (None, _) => None,
        };
    }
    tables
}

/// Doc comments of a source file, without their slashes.
fn comments(source: &str) -> String {
    let lines = source.lines().filter_map(|line| {
        let line = line.trim_start();
        let text = line
            .strip_prefix("//!")
            .or_else(|| line.strip_prefix("///"))?;
        Some(text.strip_prefix(' ').unwrap_or(text).to_owned() + "\n")
    });
    lines.collect()
}

#[test]
fn format_has_the_tables_of_the_source() {
    let described = byte_tables(&read("docs/FORMAT.md"));
    let implemented: BTreeSet<String> = files("src/channel", ".rs")
        .iter()
        .flat_map(|path| byte_tables(&comments(&read(path))))
        .collect();
    assert_eq!(described.len(), 4, "segment, block, record, checkpoint");
    assert_eq!(described, implemented);
}

#[test]
fn format_has_the_verdicts_of_the_reader() {
    let document = read("docs/FORMAT.md");
    let table: Vec<String> = comments(&read("src/channel/wal/reader.rs"))
        .lines()
        .filter(|line| line.starts_with('|'))
        .map(str::to_owned)
        .collect();
    assert!(table.len() > 5, "{table:?}");
    assert!(document.contains(&table.join("\n")), "{table:?}");
}

/// Names of all functions marked as tests.
fn tests() -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for path in files("tests", ".rs").into_iter().chain(files("src", ".rs")) {
        let text = read(&path);
        let mut marked = false;
        for line in text.lines().map(str::trim_start) {
            if line == "#[test]" || line.starts_with("#[tokio::test") {
                marked = true;
            } else if marked && let Some((_, name)) = line.split_once("fn ") {
                let name: String = name
                    .chars()
                    .take_while(|c| c.is_alphanumeric() || *c == '_')
                    .collect();
                names.insert(name);
                marked = false;
            }
        }
    }
    // A golden file is a test of its own: its name is its path.
    names
}

/// Words in back quotes in the last cell of each table row.
fn named_tests(document: &str) -> Vec<String> {
    let rows = document
        .lines()
        .filter(|line| line.starts_with("| ") && !line.starts_with("| ---"));
    rows.filter_map(|row| row.trim_end_matches(" |").rsplit(" | ").next())
        .flat_map(|cell| {
            let words: Vec<String> = cell
                .split('`')
                .skip(1)
                .step_by(2)
                .map(str::to_owned)
                .collect();
            words
        })
        .collect()
}

#[test]
fn tests_that_the_compatibility_table_names_exist() {
    let known = tests();
    let named = named_tests(&read("docs/COMPATIBILITY.md"));
    assert!(named.len() > 80, "only {} tests are named", named.len());
    let missing: Vec<&String> = named
        .iter()
        .filter(|name| match name.strip_suffix(".conf") {
            Some(_) => !root().join("tests/config").join(name.as_str()).exists(),
            None => !known.contains(*name),
        })
        .collect();
    assert!(missing.is_empty(), "{missing:?}");
}

#[test]
fn flumes_restart_and_replay_cases_are_all_answered() {
    let document = read("docs/FLUME_FILE_CHANNEL_CASES.md");
    let cases: Vec<String> = document
        .lines()
        .filter_map(|line| line.strip_prefix("| `test")?.split('`').next())
        .map(str::to_lowercase)
        .collect();
    let named = named_tests(&document);
    assert_eq!(cases.len(), 44, "as many as Flume has");
    let in_one_word: Vec<String> = named.iter().map(|name| name.replace('_', "")).collect();
    assert_eq!(
        cases, in_one_word,
        "each test has Flume's name for its case"
    );
    let known = tests();
    let missing: Vec<&String> = named.iter().filter(|name| !known.contains(*name)).collect();
    assert!(missing.is_empty(), "{missing:?}");
}

#[test]
fn every_dependency_has_its_reason() {
    let manifest = read("Cargo.toml");
    let reasons = read("docs/DEPENDENCIES.md");
    let mut wanted = Vec::new();
    let mut in_dependencies = false;
    for line in manifest.lines() {
        if line.starts_with('[') {
            in_dependencies = line == "[dependencies]" || line == "[dev-dependencies]";
        } else if in_dependencies
            && !line.starts_with('#')
            && let Some((name, version)) = line.split_once(" = ")
        {
            wanted.push((name, version.contains("\"=")));
        }
    }
    assert!(wanted.len() > 20, "{wanted:?}");
    for (name, exact) in wanted {
        let row = reasons
            .lines()
            .find(|line| line.starts_with(&format!("| `{name}` |")));
        let row = row.unwrap_or_else(|| panic!("no row for {name} in docs/DEPENDENCIES.md"));
        assert!(
            !exact || row.to_lowercase().contains("exact"),
            "{name} is pinned; say why it is exact"
        );
    }
}
