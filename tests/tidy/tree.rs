//! The files of the checkout.

use std::fs;
use std::path::{Path, PathBuf};

/// The top of the checkout.
pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Text of a file, by its path from the top.
pub(crate) fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// All files below `folder` whose name ends with `suffix`, as paths from the top, sorted.
pub(crate) fn files(folder: &str, suffix: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut folders = vec![root().join(folder)];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.to_string_lossy().ends_with(suffix) {
                found.push(from_top(&path));
            }
        }
    }
    found.sort();
    found
}

/// Everything that is written by hand and read by people.
pub(crate) fn texts() -> Vec<String> {
    let mut all: Vec<String> = [
        "README.md",
        "CHANGELOG.md",
        "Makefile",
        "Cargo.toml",
        "deny.toml",
    ]
    .map(str::to_owned)
    .into();
    for folder in ["src", "tests", "benches", "docs", ".ci"] {
        all.extend(files(folder, ""));
    }
    all.retain(|path| !path.contains("__pycache__"));
    all
}

/// Markdown documents.
pub(crate) fn documents() -> Vec<String> {
    let mut documents = files("docs", ".md");
    documents.extend(files("tests", ".md"));
    documents.extend(["README.md".to_owned(), "CHANGELOG.md".to_owned()]);
    documents
}

fn from_top(path: &Path) -> String {
    let path: PathBuf = path.strip_prefix(root()).unwrap().into();
    path.to_string_lossy().into_owned()
}
