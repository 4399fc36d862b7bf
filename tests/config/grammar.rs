//! The properties grammar on generated input.

use std::sync::Arc;

use flumen::config::properties::parse;
use proptest::prelude::*;

fn pairs(bytes: &[u8]) -> Vec<(String, String)> {
    let (properties, _) = parse(bytes, &Arc::from("generated"), 0);
    properties
        .into_iter()
        .map(|property| (property.key, property.value))
        .collect()
}

/// Writes text so that the grammar reads it back: everything with a meaning gets a backslash.
fn escape(text: &str, key: bool) -> String {
    let mut out = String::new();
    for (index, character) in text.chars().enumerate() {
        match character {
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{c}' => out.push_str("\\f"),
            ' ' if key || index == 0 => out.push_str("\\ "),
            '=' | ':' | '#' | '!' | '\\' => {
                out.push('\\');
                out.push(character);
            }
            other if !other.is_ascii() && index % 2 == 0 => {
                for unit in other.encode_utf16(&mut [0; 2]) {
                    out.push_str(&format!("\\u{unit:04x}"));
                }
            }
            other => out.push(other),
        }
    }
    out
}

proptest! {
    #[test]
    fn no_bytes_make_the_parser_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        let _ = pairs(&bytes);
    }

    #[test]
    fn no_text_of_the_grammars_letters_makes_it_panic(text in "[ab =:#!\\\\\n\r\tu0-9]{0,120}") {
        let _ = pairs(text.as_bytes());
    }

    #[test]
    fn what_was_escaped_is_read_back(
        written in proptest::collection::vec(("[^\u{feff}]{1,20}", "[^\u{feff}]{0,30}"), 0..6),
        separator in prop_oneof![Just("="), Just(":"), Just(" "), Just(" = "), Just("\t:  ")],
    ) {
        let mut text = String::new();
        for (key, value) in &written {
            text.push_str(&format!("# a comment\n  {}{separator}{}\n", escape(key, true), escape(value, false)));
        }
        prop_assert_eq!(pairs(text.as_bytes()), written);
    }
}
