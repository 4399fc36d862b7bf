//! `${…}` in values: environment, system properties, dates, other keys, defaults.
//!
//! Control plane only. What is always true: the result is bounded in depth and size, a reference that
//! cannot be resolved stays as it was written, and unlike in Flume the order of the keys in the
//! file does not matter.

use std::collections::BTreeMap;

/// Values nest at most this deep; a key that refers to itself ends here.
const DEPTH_MAX: usize = 20;
/// A value grows to at most this many bytes: doubling keys would reach gigabytes otherwise.
const VALUE_BYTES_MAX: usize = 1024 * 1024;

/// A value is made of at most this many references, those inside others included: a key that is named
/// twice in each of twenty keys would be looked up a million times.
const REFERENCES_MAX: usize = 1000;

/// What references are looked up in.
#[derive(Debug)]
pub struct Lookups<'a> {
    /// Environment of the process.
    pub environment: &'a BTreeMap<String, String>,
    /// `-Dkey=value`.
    pub system: &'a BTreeMap<String, String>,
    /// Raw values of the files, by full key.
    pub keys: &'a BTreeMap<String, String>,
    /// `-DpropertiesImplementation=…EnvVarResolverProperties`: `${X}` is an environment variable.
    pub plain_environment: bool,
    /// Milliseconds since the epoch, for `${date:…}`.
    pub now_ms: i64,
}

/// What became of a value.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Substituted {
    /// The new value.
    pub text: String,
    /// References that stayed as they are, with the reason.
    pub unresolved: Vec<(String, Reason)>,
}

/// Why a reference stayed as it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// Nothing of this name.
    Unknown,
    /// It contains itself, or nests too deep, or grew too large.
    Endless,
    /// `${filter['key']}`: a config filter.
    Filter,
    /// `${java:…}` and other lookups that need a JVM.
    Java,
    /// `${date:…}` with a pattern letter we do not know.
    DatePattern,
}

/// Resolves all references in `value`.
pub fn substitute(value: &str, lookups: &Lookups<'_>) -> Substituted {
    let mut result = Substituted::default();
    let mut references_left = REFERENCES_MAX;
    result.text = expand(
        value,
        lookups,
        0,
        &mut references_left,
        &mut result.unresolved,
    );
    result
}

fn expand(
    value: &str,
    lookups: &Lookups<'_>,
    depth: usize,
    references_left: &mut usize,
    unresolved: &mut Vec<(String, Reason)>,
) -> String {
    let mut output = String::with_capacity(value.len());
    let mut rest = value;
    while let Some(start) = rest.find("${") {
        let (before, from) = rest.split_at(start);
        if let Some(kept) = before.strip_suffix('$') {
            // `$${` is an escape: one dollar goes, the reference is text.
            output.push_str(kept);
            let end = reference_end(from).unwrap_or(2);
            output.push_str(&from[..end]);
            rest = &from[end..];
            continue;
        }
        output.push_str(before);
        let Some(end) = reference_end(from) else {
            output.push_str(from);
            return output;
        };
        let (whole, after) = from.split_at(end);
        match resolve(
            &whole[2..end - 1],
            lookups,
            depth,
            references_left,
            unresolved,
        ) {
            Ok(text) if output.len() + text.len() <= VALUE_BYTES_MAX => output.push_str(&text),
            Ok(_) => keep(whole, Reason::Endless, &mut output, unresolved),
            Err(reason) => keep(whole, reason, &mut output, unresolved),
        }
        rest = after;
        if unresolved
            .iter()
            .any(|(_, reason)| *reason == Reason::Endless)
        {
            // Keys that contain themselves twice would double the work at each level.
            break;
        }
    }
    output.push_str(rest);
    output
}

fn keep(whole: &str, reason: Reason, output: &mut String, unresolved: &mut Vec<(String, Reason)>) {
    output.push_str(whole);
    if !unresolved.iter().any(|(known, _)| known == whole) {
        unresolved.push((whole.to_owned(), reason));
    }
}

/// Byte behind the `}` that closes the `${` at the start of `text`.
fn reference_end(text: &str) -> Option<usize> {
    let mut depth = 0usize;
    let mut previous = '\0';
    for (index, character) in text.char_indices() {
        match character {
            '{' if previous == '$' => depth += 1,
            '}' => {
                depth -= 1;
                if depth == 0 {
                    return Some(index + 1);
                }
            }
            _ => {}
        }
        previous = character;
    }
    None
}

fn resolve(
    inside: &str,
    lookups: &Lookups<'_>,
    depth: usize,
    references_left: &mut usize,
    unresolved: &mut Vec<(String, Reason)>,
) -> Result<String, Reason> {
    if depth >= DEPTH_MAX || *references_left == 0 {
        return Err(Reason::Endless);
    }
    *references_left -= 1;
    // Inner references first: `${env:${which}}`.
    let mut inner_unresolved = Vec::new();
    let (name, default) = split_default(inside);
    let name = expand(
        name,
        lookups,
        depth + 1,
        references_left,
        &mut inner_unresolved,
    );
    match look_up(&name, lookups) {
        Ok(Found::Final(text)) => Ok(text),
        Ok(Found::Value(text)) => {
            let text = expand(
                &text,
                lookups,
                depth + 1,
                references_left,
                &mut inner_unresolved,
            );
            if inner_unresolved
                .iter()
                .any(|(_, reason)| *reason == Reason::Endless)
            {
                return Err(Reason::Endless);
            }
            unresolved.append(&mut inner_unresolved);
            Ok(text)
        }
        Err(reason) => match default {
            Some(text) => Ok(expand(
                text,
                lookups,
                depth + 1,
                references_left,
                unresolved,
            )),
            None => Err(reason),
        },
    }
}

/// `x:-default`, the first `:-` outside nested references.
fn split_default(inside: &str) -> (&str, Option<&str>) {
    let mut depth = 0usize;
    let bytes = inside.as_bytes();
    for (index, byte) in bytes.iter().enumerate() {
        match byte {
            b'{' => depth += 1,
            b'}' => depth = depth.saturating_sub(1),
            b':' if depth == 0 && bytes.get(index + 1) == Some(&b'-') => {
                return (&inside[..index], Some(&inside[index + 2..]));
            }
            _ => {}
        }
    }
    (inside, None)
}

enum Found {
    /// Taken as it is: text from outside the files.
    Final(String),
    /// A value of the files, which may hold references itself.
    Value(String),
}

fn look_up(name: &str, lookups: &Lookups<'_>) -> Result<Found, Reason> {
    if let Some(variable) = name.strip_prefix("env:") {
        return lookups
            .environment
            .get(variable)
            .cloned()
            .map(Found::Final)
            .ok_or(Reason::Unknown);
    }
    if let Some(property) = name.strip_prefix("sys:") {
        return lookups
            .system
            .get(property)
            .cloned()
            .map(Found::Final)
            .ok_or(Reason::Unknown);
    }
    if let Some(pattern) = name.strip_prefix("date:") {
        return date(pattern, lookups.now_ms).map(Found::Final);
    }
    if [
        "java:",
        "const:",
        "script:",
        "file:",
        "url:",
        "dns:",
        "base64Encoder:",
        "base64Decoder:",
    ]
    .iter()
    .any(|prefix| name.starts_with(prefix))
    {
        return Err(Reason::Java);
    }
    if name.ends_with(']') && name.contains('[') {
        return Err(Reason::Filter);
    }
    if lookups.plain_environment {
        // Up to Flume 1.9 a missing variable was the empty string.
        return Ok(Found::Final(
            lookups.environment.get(name).cloned().unwrap_or_default(),
        ));
    }
    lookups
        .keys
        .get(name)
        .cloned()
        .map(Found::Value)
        .ok_or(Reason::Unknown)
}

/// Java's `SimpleDateFormat`, the letters that make sense in a file name or path.
fn date(pattern: &str, now_ms: i64) -> Result<String, Reason> {
    let now = jiff::Timestamp::from_millisecond(now_ms)
        .map_err(|_| Reason::DatePattern)?
        .to_zoned(jiff::tz::TimeZone::system());
    let mut output = String::new();
    let characters: Vec<char> = pattern.chars().collect();
    let mut index = 0;
    while let Some(&letter) = characters.get(index) {
        let run = characters[index..]
            .iter()
            .take_while(|c| **c == letter)
            .count();
        index += run;
        if !letter.is_ascii_alphabetic() {
            output.extend(std::iter::repeat_n(letter, run));
            continue;
        }
        let number = match letter {
            'y' | 'u' if run == 2 => i64::from(now.year() % 100),
            'y' | 'u' => i64::from(now.year()),
            'M' => i64::from(now.month()),
            'd' => i64::from(now.day()),
            'D' => i64::from(now.day_of_year()),
            'H' => i64::from(now.hour()),
            'm' => i64::from(now.minute()),
            's' => i64::from(now.second()),
            'S' => i64::from(now.millisecond()),
            _ => return Err(Reason::DatePattern),
        };
        output.push_str(&format!("{number:0run$}"));
    }
    Ok(output)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs
            .iter()
            .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
            .collect()
    }

    fn check(value: &str, expected: &str, unresolved: &[Reason]) {
        let environment = map(&[("HOST", "h1"), ("WHICH", "HOST")]);
        let system = map(&[("port", "4141")]);
        let keys = map(&[("a.b", "x${env:HOST}"), ("loop", "1${loop}"), ("w", "HOST")]);
        let lookups = Lookups {
            environment: &environment,
            system: &system,
            keys: &keys,
            plain_environment: false,
            now_ms: 0,
        };
        let result = substitute(value, &lookups);
        assert_eq!(result.text, expected);
        assert_eq!(
            result
                .unresolved
                .iter()
                .map(|(_, r)| *r)
                .collect::<Vec<_>>(),
            unresolved
        );
    }

    #[test]
    fn references_are_resolved() {
        check("${env:HOST}:${sys:port}", "h1:4141", &[]);
        check("${a.b}/y", "xh1/y", &[]);
        check("${env:${w}}", "h1", &[]);
        check("${env:NONE:-d${sys:port}}", "d4141", &[]);
        check("${date:yyyy}", "1970", &[]);
    }

    #[test]
    fn what_cannot_be_resolved_stays_as_it_is() {
        check(
            "${env:NONE}-${sys:port}",
            "${env:NONE}-4141",
            &[Reason::Unknown],
        );
        check("${loop}", "${loop}", &[Reason::Endless]);
        check("${f1['k']}", "${f1['k']}", &[Reason::Filter]);
        check("${java:version}", "${java:version}", &[Reason::Java]);
        check("${open", "${open", &[]);
        check("$", "$", &[]);
    }

    /// Found by fuzzing: keys that multiply without growing kept the start busy for ever.
    #[test]
    fn keys_that_multiply_come_to_an_end() {
        let environment = BTreeMap::new();
        let mut keys = BTreeMap::from([("k12".to_owned(), String::new())]);
        for number in 0..12 {
            let value = format!("${{k{}}}", number + 1).repeat(8);
            keys.insert(format!("k{number}"), value);
        }
        let lookups = Lookups {
            environment: &environment,
            system: &environment,
            keys: &keys,
            plain_environment: false,
            now_ms: 0,
        };
        let result = substitute("${k0}", &lookups);
        assert_eq!(result.unresolved, [("${k0}".to_owned(), Reason::Endless)]);
        assert_eq!(substitute("${k10}", &lookups).unresolved, []);
    }

    #[test]
    fn a_doubled_dollar_escapes() {
        check("$${env:HOST}", "${env:HOST}", &[]);
    }

    #[test]
    fn plain_names_are_variables_when_asked_for() {
        let environment = map(&[("HOST", "h1")]);
        let none = BTreeMap::new();
        let lookups = Lookups {
            environment: &environment,
            system: &none,
            keys: &none,
            plain_environment: true,
            now_ms: 0,
        };
        assert_eq!(substitute("${HOST}${GONE}", &lookups).text, "h1");
    }
}
