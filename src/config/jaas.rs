//! `sasl.jaas.config`: one line of Java's login configuration, turned into librdkafka's settings.
//!
//! Control plane only; pure functions. Secrets pass through here and are never put into an error.

use std::collections::BTreeMap;

/// Why a login line cannot be used.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum JaasError {
    /// Not `module flag key=value …;`.
    #[error("it is not `module required key=\"value\" …;`")]
    Grammar,
    /// A module we have no counterpart for.
    #[error("the login module {0} has no counterpart here")]
    Module(String),
    /// A needed option is not there.
    #[error("the login module needs {0}")]
    Missing(&'static str),
}

/// librdkafka's settings for a login line.
pub fn settings(line: &str) -> Result<BTreeMap<String, String>, JaasError> {
    let (module, options) = parse(line)?;
    let get = |name: &'static str| options.get(name).cloned().ok_or(JaasError::Missing(name));
    let pairs = match module.rsplit('.').next() {
        Some("PlainLoginModule" | "ScramLoginModule") => {
            vec![
                ("sasl.username", get("username")?),
                ("sasl.password", get("password")?),
            ]
        }
        Some("Krb5LoginModule") => {
            let mut pairs = vec![
                ("sasl.kerberos.keytab", get("keyTab")?),
                ("sasl.kerberos.principal", get("principal")?),
            ];
            if let Some(service) = options.get("serviceName") {
                pairs.push(("sasl.kerberos.service.name", service.clone()));
            }
            pairs
        }
        _ => return Err(JaasError::Module(module)),
    };
    Ok(pairs
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value))
        .collect())
}

fn parse(line: &str) -> Result<(String, BTreeMap<String, String>), JaasError> {
    let line = line.trim().strip_suffix(';').ok_or(JaasError::Grammar)?;
    let (module, rest) = line
        .split_once(char::is_whitespace)
        .ok_or(JaasError::Grammar)?;
    let (flag, mut rest) = rest
        .trim()
        .split_once(char::is_whitespace)
        .unwrap_or((rest.trim(), ""));
    if !matches!(
        flag.to_ascii_lowercase().as_str(),
        "required" | "requisite" | "sufficient" | "optional"
    ) {
        return Err(JaasError::Grammar);
    }
    let mut options = BTreeMap::new();
    loop {
        rest = rest.trim_start();
        if rest.is_empty() {
            return Ok((module.to_owned(), options));
        }
        let (name, after) = rest.split_once('=').ok_or(JaasError::Grammar)?;
        let (value, after) = value(after.trim_start())?;
        options.insert(name.trim().to_owned(), value);
        rest = after;
    }
}

/// A quoted value with `\"` escapes, or one word.
fn value(text: &str) -> Result<(String, &str), JaasError> {
    let Some(quote @ ('"' | '\'')) = text.chars().next() else {
        let end = text.find(char::is_whitespace).unwrap_or(text.len());
        return Ok((text[..end].to_owned(), &text[end..]));
    };
    let mut value = String::new();
    let mut escaped = false;
    for (index, character) in text.char_indices().skip(1) {
        match character {
            '\\' if !escaped => escaped = true,
            end if end == quote && !escaped => return Ok((value, &text[index + 1..])),
            other => {
                value.push(other);
                escaped = false;
            }
        }
    }
    Err(JaasError::Grammar)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_and_keytabs_are_found() {
        let plain = settings("org.apache.kafka.common.security.plain.PlainLoginModule required username=\"a\" password=\"b=\\\"c;\";").unwrap();
        assert_eq!(plain["sasl.username"], "a");
        assert_eq!(plain["sasl.password"], "b=\"c;");
        let kerberos = settings("com.sun.security.auth.module.Krb5LoginModule required useKeyTab=true keyTab=\"/k\" principal=\"p@R\";").unwrap();
        assert_eq!(kerberos["sasl.kerberos.keytab"], "/k");
    }

    #[test]
    fn other_modules_and_grammars_are_refused() {
        assert_eq!(settings("x"), Err(JaasError::Grammar));
        assert_eq!(
            settings("a.B required;"),
            Err(JaasError::Module("a.B".into()))
        );
        assert_eq!(
            settings("a.PlainLoginModule required password=x;"),
            Err(JaasError::Missing("username"))
        );
    }
}
