//! What every source file owes its reader.

use crate::tree::{files, read, texts};

#[test]
fn every_file_says_first_what_it_is() {
    let mut silent = files("src", ".rs");
    silent.extend(files("tests", ".rs"));
    silent.extend(files("benches", ".rs"));
    silent.retain(|path| !read(path).starts_with("//! "));
    assert!(silent.is_empty(), "without a //! line first: {silent:?}");
}

#[test]
fn no_file_names_a_place_that_only_its_author_has() {
    // Put together here, so that this file does not name them either.
    let words: Vec<String> = [
        ("/wo", "rk/"),
        ("../sha", "red"),
        (".libr", "ary"),
        ("/ro", "ot/."),
        ("issue", " 3"),
    ]
    .iter()
    .map(|(head, tail)| format!("{head}{tail}"))
    .collect();
    let mut found = Vec::new();
    for path in texts() {
        let Ok(text) = std::fs::read_to_string(crate::tree::root().join(&path)) else {
            continue; // not text
        };
        for (number, line) in text.lines().enumerate() {
            if words.iter().any(|word| line.contains(word.as_str())) {
                found.push(format!("{path}:{}: {line}", number + 1));
            }
        }
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn nothing_is_left_to_do_and_no_test_is_skipped() {
    let words: Vec<String> = [
        ("TO", "DO"),
        ("FIX", "ME"),
        ("todo", "!("),
        ("unimpl", "emented!("),
        ("#[ign", "ore"),
    ]
    .iter()
    .map(|(head, tail)| format!("{head}{tail}"))
    .collect();
    let mut found = Vec::new();
    for path in files("src", ".rs").into_iter().chain(files("tests", ".rs")) {
        for (number, line) in read(&path).lines().enumerate() {
            if words.iter().any(|word| line.contains(word.as_str())) {
                found.push(format!("{path}:{}: {line}", number + 1));
            }
        }
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn unsafe_code_is_in_the_reactor_only() {
    let opened: Vec<String> = files("src", ".rs")
        .into_iter()
        .filter(|path| !path.starts_with("src/reactor/"))
        .filter(|path| {
            let text = read(path);
            ["unsafe {", "unsafe impl", "unsafe fn", "unsafe extern"]
                .iter()
                .any(|form| {
                    text.lines().any(|line| {
                        line.trim_start().contains(form) && !line.trim_start().starts_with("//")
                    })
                })
        })
        .collect();
    assert!(opened.is_empty(), "{opened:?}");
}
