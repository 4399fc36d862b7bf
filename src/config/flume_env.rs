//! `flume-env.sh` of the `--conf` directory: only its `-Dflume.*` has a meaning without a JVM.
//!
//! Control plane only. The script is read, never run.

use std::collections::BTreeMap;
use std::path::Path;

use super::diagnostic::{Finding, Findings};

/// System properties that `flume-env.sh` in `conf_dir` would set, and a note on the rest.
pub(super) fn read(conf_dir: &Path, findings: &mut Findings) -> BTreeMap<String, String> {
    let path = conf_dir.join("flume-env.sh");
    let Ok(text) = std::fs::read_to_string(&path) else {
        return BTreeMap::new();
    };
    let (properties, rest) = parse(&text);
    if !rest.is_empty() {
        findings.add(
            Finding::note("no-effect", format!("{} sets {}, which have no meaning without a JVM; only -Dflume.* and -Dflumen.* are taken from it.", path.display(), rest.join(", ")))
                .key("--conf")
                .flume("hands them to the JVM.")
                .remedy("Nothing, unless you relied on them; export variables in the shell or the unit file."),
        );
    }
    properties
}

/// `-Dflume.*` and `-Dflumen.*` in the text, and the variables that hold something else.
fn parse(text: &str) -> (BTreeMap<String, String>, Vec<String>) {
    let mut properties = BTreeMap::new();
    let mut rest: Vec<String> = Vec::new();
    let joined = text.replace("\\\n", " ");
    let mut open: Option<(String, String, char)> = None;
    for line in joined.lines() {
        // A quoted value may span lines.
        if let Some((name, mut value, quote)) = open.take() {
            value.push(' ');
            if let Some(end) = line.find(quote) {
                value.push_str(&line[..end]);
                take(&name, &value, &mut properties, &mut rest);
            } else {
                value.push_str(line);
                open = Some((name, value, quote));
            }
            continue;
        }
        let line = line.trim();
        let assignment = line.strip_prefix("export ").unwrap_or(line).trim();
        let Some((name, value)) = assignment
            .split_once('=')
            .filter(|_| !line.starts_with('#'))
        else {
            continue;
        };
        if name.is_empty() || !name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') {
            continue;
        }
        match value.chars().next() {
            Some(quote @ ('"' | '\'')) => match value[1..].find(quote) {
                Some(end) => take(name, &value[1..=end], &mut properties, &mut rest),
                None => open = Some((name.to_owned(), value[1..].to_owned(), quote)),
            },
            _ => take(
                name,
                value.split_whitespace().next().unwrap_or_default(),
                &mut properties,
                &mut rest,
            ),
        }
    }
    (properties, rest)
}

fn take(
    name: &str,
    value: &str,
    properties: &mut BTreeMap<String, String>,
    rest: &mut Vec<String>,
) {
    let mut other = false;
    let options = matches!(name, "JAVA_OPTS" | "FLUME_JAVA_OPTS");
    for word in value.split_whitespace() {
        let property = word.strip_prefix("-D").filter(|definition| {
            options && (definition.starts_with("flume.") || definition.starts_with("flumen."))
        });
        match property.and_then(|definition| definition.split_once('=')) {
            Some((key, value)) => {
                properties.insert(key.to_owned(), value.to_owned());
            }
            None => other |= word != "$JAVA_OPTS" && word != "${JAVA_OPTS}",
        }
    }
    if other && !rest.iter().any(|known| known == name) {
        rest.push(name.to_owned());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flume_properties_are_taken_and_the_rest_is_named() {
        let text = "# export JAVA_OPTS=\"-Dflume.no=1\"\nexport JAVA_OPTS=\"-Xmx1g -Dflume.monitoring.type=http \\\n -XX:+UseG1GC\n-Dflume.monitoring.port=36001\"\nFLUME_CLASSPATH=/x\nif [ a = b ]; then :; fi\n";
        let (properties, rest) = parse(text);
        let pairs: Vec<_> = properties
            .iter()
            .map(|(k, v)| (k.as_str(), v.as_str()))
            .collect();
        assert_eq!(
            pairs,
            [
                ("flume.monitoring.port", "36001"),
                ("flume.monitoring.type", "http")
            ]
        );
        assert_eq!(rest, ["JAVA_OPTS", "FLUME_CLASSPATH"]);
    }
}
