//! Java's `.properties` grammar, with the place of every key and value kept.
//!
//! Control plane only, a pure function of bytes. What is always true: every byte of the file is
//! either blank, comment, or in exactly one property; parsing never fails. Where Java would throw
//! (`\u` without four hex digits) the text is kept as written and a warning says so.
//!
//! The text is UTF-8. Bytes that are not are read as Latin-1, one character each, which is what
//! Java makes of the whole file.

use std::sync::Arc;

use super::diagnostic::{Finding, Findings, Place};

/// One key and value of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Property {
    /// The key, escapes resolved.
    pub key: String,
    /// The value, escapes resolved, not trimmed at its end.
    pub value: String,
    /// Where the key begins.
    pub key_place: Place,
    /// Where the value begins: the first character after separator and blanks.
    pub value_place: Place,
}

/// All properties of one file, in its order, duplicates included.
///
/// `file_index` is the number of the file on the command line.
pub fn parse(bytes: &[u8], file: &Arc<str>, file_index: usize) -> (Vec<Property>, Findings) {
    let (text, latin) = decode(bytes);
    let text = text
        .strip_prefix('\u{feff}')
        .map(str::to_owned)
        .unwrap_or(text);
    let mut findings = Findings::new();
    let place = |line, column| Place {
        file_index,
        file: file.clone(),
        line,
        column,
    };
    if let Some(line) = latin {
        findings.add(
            Finding::warning(
                "not-utf-8",
                "The line holds bytes that are not UTF-8; they are read as Latin-1.",
            )
            .at(&place(line, 1))
            .flume("reads the whole file as Latin-1, so every UTF-8 text in it comes out garbled.")
            .remedy("Save the file as UTF-8."),
        );
    }
    let mut properties = Vec::new();
    for line in logical_lines(&text) {
        properties.push(property(&line, &place, &mut findings));
    }
    (properties, findings)
}

/// Text of `bytes`, and the first line that needed the Latin-1 reading.
fn decode(bytes: &[u8]) -> (String, Option<u32>) {
    let mut text = String::with_capacity(bytes.len());
    let mut first = None;
    for chunk in bytes.utf8_chunks() {
        text.push_str(chunk.valid());
        if !chunk.invalid().is_empty() && first.is_none() {
            first = Some(line_count(&text));
        }
        text.extend(chunk.invalid().iter().copied().map(char::from));
    }
    (text, first)
}

fn line_count(text: &str) -> u32 {
    1 + u32::try_from(text.matches('\n').count()).unwrap_or(u32::MAX - 1)
}

/// A character and where it stands.
#[derive(Clone, Copy)]
struct Located {
    character: char,
    line: u32,
    column: u32,
}

/// Natural lines joined at their continuations, without comments and blank lines, leading blanks
/// dropped. A continuation is a line end behind an odd number of backslashes; only the last of them
/// goes.
fn logical_lines(text: &str) -> Vec<Vec<Located>> {
    let mut lines = Vec::new();
    let mut current: Vec<Located> = Vec::new();
    let mut continued = false;
    for (number, natural) in (1u32..).zip(natural_lines(text)) {
        let start = natural
            .iter()
            .position(|c| !is_blank(*c))
            .unwrap_or(natural.len());
        let rest = natural.get(start..).unwrap_or_default();
        if !continued && matches!(rest.first(), None | Some('#' | '!')) {
            continue;
        }
        let offset = u32::try_from(start).unwrap_or(u32::MAX - 1);
        let columns = (offset + 1)..;
        let located = columns.zip(rest).map(|(column, &character)| Located {
            character,
            line: number,
            column,
        });
        current.extend(located);
        let backslashes = rest.iter().rev().take_while(|c| **c == '\\').count();
        continued = backslashes % 2 == 1;
        if continued {
            current.pop();
        } else if !current.is_empty() {
            lines.push(std::mem::take(&mut current));
        }
    }
    if !current.is_empty() {
        lines.push(current);
    }
    lines
}

/// Lines end at `\n`, `\r` or `\r\n`.
fn natural_lines(text: &str) -> Vec<Vec<char>> {
    let mut lines = vec![Vec::new()];
    let mut characters = text.chars().peekable();
    while let Some(character) = characters.next() {
        match character {
            '\n' => lines.push(Vec::new()),
            '\r' => {
                if characters.peek() != Some(&'\n') {
                    lines.push(Vec::new());
                }
            }
            other => lines.last_mut().expect("starts with one line").push(other),
        }
    }
    lines
}

fn is_blank(character: char) -> bool {
    matches!(character, ' ' | '\t' | '\u{c}')
}

fn property(
    line: &[Located],
    place: &impl Fn(u32, u32) -> Place,
    findings: &mut Findings,
) -> Property {
    let key_end = key_end(line);
    let value_start = value_start(line, key_end);
    let key = line.get(..key_end).unwrap_or_default();
    let value = line.get(value_start..).unwrap_or_default();
    let first = line
        .first()
        .map_or_else(|| place(1, 1), |at| place(at.line, at.column));
    let after_last = line
        .last()
        .map_or_else(|| first.clone(), |at| place(at.line, at.column + 1));
    let value_place = value
        .first()
        .map_or(after_last, |at| place(at.line, at.column));
    let key_text = unescape(key, &key_of(key), place, findings);
    let value_text = unescape(value, &key_text, place, findings);
    Property {
        key: key_text,
        value: value_text,
        key_place: first,
        value_place,
    }
}

fn key_of(key: &[Located]) -> String {
    key.iter().map(|at| at.character).collect()
}

/// The first unescaped `=`, `:` or blank ends the key.
fn key_end(line: &[Located]) -> usize {
    let mut escaped = false;
    for (index, at) in line.iter().enumerate() {
        if !escaped && (is_blank(at.character) || matches!(at.character, '=' | ':')) {
            return index;
        }
        escaped = at.character == '\\' && !escaped;
    }
    line.len()
}

/// Behind blanks, at most one `=` or `:`, and blanks again.
fn value_start(line: &[Located], key_end: usize) -> usize {
    let mut separator = false;
    for (index, at) in line.iter().enumerate().skip(key_end) {
        match at.character {
            blank if is_blank(blank) => {}
            '=' | ':' if !separator => separator = true,
            _ => return index,
        }
    }
    line.len()
}

fn unescape(
    text: &[Located],
    key: &str,
    place: &impl Fn(u32, u32) -> Place,
    findings: &mut Findings,
) -> String {
    let mut units: Vec<u16> = Vec::with_capacity(text.len());
    let mut lost: Option<(Located, char)> = None;
    let mut buffer = [0u16; 2];
    let mut index = 0;
    while let Some(at) = text.get(index) {
        index += 1;
        if at.character != '\\' {
            units.extend_from_slice(at.character.encode_utf16(&mut buffer));
            continue;
        }
        // A lone backslash can only be the last character of a file; Java drops it too.
        let Some(next) = text.get(index) else { break };
        index += 1;
        match next.character {
            't' => units.push(u16::from(b'\t')),
            'n' => units.push(u16::from(b'\n')),
            'r' => units.push(u16::from(b'\r')),
            'f' => units.push(0x0c),
            'u' => match hex4(text.get(index..index + 4)) {
                Some(unit) => {
                    units.push(unit);
                    index += 4;
                }
                None => {
                    units.extend([u16::from(b'\\'), u16::from(b'u')]);
                    findings.add(
                        Finding::warning("bad-unicode-escape", "`\\u` is not followed by four hex digits; the text is kept as written.")
                            .at(&place(at.line, at.column))
                            .key(key)
                            .flume("cannot read the file: Malformed \\uxxxx encoding.")
                            .remedy("Write the character itself, or `\\\\u` for a backslash and a u."),
                    );
                }
            },
            other => {
                // These are the escapes a writer of properties uses on purpose.
                if !matches!(
                    other,
                    '\\' | ' ' | '=' | ':' | '#' | '!' | '\t' | '"' | '\''
                ) && lost.is_none()
                {
                    lost = Some((*at, other));
                }
                units.extend_from_slice(other.encode_utf16(&mut buffer));
            }
        }
    }
    if let Some((at, other)) = lost {
        findings.add(
            Finding::warning(
                "lost-backslash",
                format!(
                    "The backslash before `{other}` vanishes: it is an escape of the file format."
                ),
            )
            .at(&place(at.line, at.column))
            .key(key)
            .flume("drops it without a word, so a pattern like `\\.` matches any character.")
            .remedy(format!(
                "Write `\\\\{other}` if the backslash belongs to the value."
            )),
        );
    }
    String::from_utf16_lossy(&units)
}

fn hex4(digits: Option<&[Located]>) -> Option<u16> {
    digits?.iter().try_fold(0u16, |unit, at| {
        let digit = u16::try_from(at.character.to_digit(16)?).ok()?;
        Some(unit << 4 | digit)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(text: &[u8]) -> Vec<(String, String)> {
        let (properties, _) = parse(text, &Arc::from("t"), 0);
        properties.into_iter().map(|p| (p.key, p.value)).collect()
    }

    fn check(text: &str, key: &str, value: &str) {
        assert_eq!(
            pairs(text.as_bytes()),
            [(key.to_owned(), value.to_owned())],
            "{text:?}"
        );
    }

    #[test]
    fn the_first_unescaped_separator_ends_the_key() {
        check("a = b", "a", "b");
        check("a:b=c", "a", "b=c");
        check("a b = c", "a", "b = c");
        check("a\\=b = c", "a=b", "c");
        check("a\\ b c", "a b", "c");
        check("a", "a", "");
        check("a==b", "a", "=b");
        check("  a  :  b  ", "a", "b  ");
        check("=v", "", "v");
    }

    #[test]
    fn comments_start_a_line_only() {
        assert!(pairs(b"# a=b\n ! c=d\n\n   \n").is_empty());
        check("a = 1 # one", "a", "1 # one");
    }

    #[test]
    fn lines_continue_behind_an_odd_number_of_backslashes() {
        check("a = b\\\n   c", "a", "bc");
        check("a = b\\\r\n   # c", "a", "b# c");
        check("a = b\\\\\n", "a", "b\\");
        check("a = b\\", "a", "b");
        check("a = b\\\n\n", "a", "b");
    }

    #[test]
    fn escapes_are_resolved_and_others_lose_the_backslash() {
        check("a = \\t\\n\\u4e2d\\x", "a", "\t\n中x");
        check("a = \\ud83c\\udf3a", "a", "🌺");
        let (_, findings) = parse(b"k = ^.*\\.log$", &Arc::from("t"), 0);
        let finding = findings.iter().next().unwrap();
        assert_eq!(
            (finding.rule, finding.place.as_ref().unwrap().column),
            ("lost-backslash", 8)
        );
    }

    #[test]
    fn places_count_characters_of_the_natural_line() {
        let (properties, _) = parse("\n  中 = x\nlong \\\n  = v".as_bytes(), &Arc::from("t"), 0);
        let at = |p: &Place| (p.line, p.column);
        assert_eq!(
            (at(&properties[0].key_place), at(&properties[0].value_place)),
            ((2, 3), (2, 7))
        );
        assert_eq!(at(&properties[1].value_place), (4, 5));
    }

    #[test]
    fn bytes_that_are_not_utf8_are_latin1() {
        assert_eq!(pairs(b"a = \xe9t\xc3\xa9")[0].1, "été");
    }
}
