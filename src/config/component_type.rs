//! From the value of `type` to the component it means, or the finding that says why there is none.
//!
//! Control plane only.

use super::catalogue;
use super::diagnostic::{Finding, Findings, Place};
use super::names;
use super::schema::{Component, Role, Support};
use super::section::{Raw, without_comment};

/// What `type` means, or a finding. A component that is not run is a finding too, but is returned, so
/// that its properties can be checked.
pub(super) fn component_of(
    role: Role,
    key: &str,
    path: &str,
    anchor: &Place,
    raw: &Raw,
    findings: &mut Findings,
) -> Option<&'static Component> {
    let what = role.word();
    let Some(value) = raw.get(key).filter(|value| !value.text.is_empty()) else {
        findings.add(
            Finding::error("missing-type", format!("The {what} has no type."))
                .at(anchor)
                .key(format!("{path}.{key}"))
                .flume(format!(
                    "removes the {} and starts without it.",
                    role.removed()
                ))
                .remedy(format!("Add `{path}.{key} = …`.")),
        );
        return None;
    };
    let removes = match role {
        Role::Interceptor | Role::Selector => {
            "removes the source and starts without it.".to_owned()
        }
        Role::Source | Role::Channel | Role::Sink | Role::SinkGroup => {
            format!("finds no class of that name, removes the {what} and starts without it.")
        }
    };
    let text = without_comment(value, &removes, findings);
    let Some(component) = catalogue::find(role, &text) else {
        findings.add(
            unknown_type(role, &text, &removes)
                .at(&value.place)
                .key(&value.key),
        );
        return None;
    };
    let refusal = match component.support {
        Support::Runs => return Some(component),
        Support::Planned(remedy) => Finding::error(
            "not-yet",
            format!("The {} {what} is not built yet.", component.name()),
        )
        .remedy(remedy),
        Support::Never(remedy) => Finding::error(
            "not-supported",
            format!("The {} {what} is not part of flumen.", component.name()),
        )
        .remedy(remedy),
    };
    let runs = if matches!(component.alias, "elasticsearch" | "load_balancing") {
        "does not run it either, since 1.10."
    } else {
        "runs it."
    };
    findings.add(refusal.at(&value.place).key(&value.key).flume(runs));
    Some(component)
}

fn unknown_type(role: Role, text: &str, removes: &str) -> Finding {
    let what = role.word();
    let finding =
        Finding::error("unknown-type", format!("`{text}` is not a type of {what}.")).flume(removes);
    let word = word_of(text);
    if word != text && catalogue::find(role, word).is_some() {
        return finding.remedy(format!(
            "Write `{word}` alone; a remark needs a line of its own that begins with #."
        ));
    }
    let of_role = || catalogue::components().filter(|component| component.role == role);
    let aliases = of_role()
        .map(|component| component.alias)
        .filter(|alias| !alias.is_empty());
    if let Some(near) = names::nearest(text, aliases) {
        return finding.remedy(format!("Did you mean `{near}`?"));
    }
    if let Some(near) = names::nearest(text, of_role().map(|component| component.class)) {
        return finding.remedy(format!("Did you mean `{near}`?"));
    }
    if text.contains('.') {
        return finding.remedy("It looks like a Java class of your own, which cannot run here. Keep a Flume agent for it, joined to flumen by an avro sink or source.");
    }
    let runs: Vec<&str> = of_role()
        .filter(|component| component.support == Support::Runs)
        .map(|c| if c.alias.is_empty() { c.class } else { c.alias })
        .collect();
    finding.remedy(format!("Types that run: {}.", runs.join(", ")))
}

/// The first word of a value.
pub(super) fn word_of(text: &str) -> &str {
    text.split_whitespace().next().unwrap_or_default()
}
