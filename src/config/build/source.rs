//! Sources: where they listen, who may connect, interceptors and selector.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use super::Build;
use crate::config::catalogue;
use crate::config::component_type::component_of;
use crate::config::diagnostic::{Finding, Findings, Place};
use crate::config::model::{
    AvroSourceConfig, AvroSourceLimits, InterceptorConfig, IpFilterRule, SourceConfig, SourceKind,
};
use crate::config::names;
use crate::config::schema::{Role, Support};
use crate::config::section::{Raw, Section, below};

/// A source of type `avro`.
pub(in crate::config) fn source(
    build: &Build<'_>,
    name: &str,
    raw: &Raw,
    section: &Section,
    anchor: &Place,
    findings: &mut Findings,
) -> Option<SourceConfig> {
    let channels = channels(build, section, findings);
    let optional = selector(build, name, raw, &channels, anchor, findings);
    let interceptors = interceptors(build, name, raw, section, findings);
    let ip_filter = ip_filter(section, findings);
    let address = address(build, section, findings);
    Some(SourceConfig {
        name: name.to_owned(),
        kind: SourceKind::Avro(AvroSourceConfig {
            address: address?,
            bind: section.string("bind"),
            deflate: section.text("compression-type") == Some("deflate"),
            ip_filter,
            limits: AvroSourceLimits {
                frame_bytes_max: section.number("maxFrameSize"),
                batch_events_max: section.number("maxBatchEvents"),
                event_bytes_max: section.number("maxEventSize"),
                connections_max: section.number("maxConnections"),
                connections_per_peer_max: section.number("maxConnectionsPerPeer"),
                handshake_deadline: Duration::from_millis(section.number("handshakeTimeout")),
                progress_deadline: Duration::from_millis(section.number("progressTimeout")),
            },
        }),
        interceptors,
        required_channels: channels
            .iter()
            .filter(|channel| !optional.contains(channel))
            .cloned()
            .collect(),
        optional_channels: optional,
    })
}

fn channels(build: &Build<'_>, section: &Section, findings: &mut Findings) -> Vec<String> {
    let mut channels = section.words("channels");
    let mut seen = Vec::new();
    channels.retain(|channel| {
        !seen.contains(channel) && {
            seen.push(channel.clone());
            true
        }
    });
    for channel in &channels {
        if build.channel_names.contains(channel) {
            continue;
        }
        let Some(value) = section.written("channels") else {
            continue;
        };
        findings.add(
            unknown_channel(build, channel, "source")
                .at(&value.place)
                .key(&value.key),
        );
    }
    channels
}

/// A component names a channel that the agent does not list.
pub(super) fn unknown_channel(build: &Build<'_>, channel: &str, what: &str) -> Finding {
    let nearest = names::nearest(channel, build.channel_names.iter().map(String::as_str));
    Finding::error(
        "unknown-channel",
        format!("`{channel}` is not in `{}.channels`.", build.agent),
    )
    .flume(format!(
        "Channel {channel} not in active set: removes the {what} and starts without it."
    ))
    .remedy(nearest.map_or_else(
        || {
            format!(
                "Add `{channel}` to `{}.channels`, or name a channel that is there.",
                build.agent
            )
        },
        |near| format!("Did you mean `{near}`?"),
    ))
}

fn address(build: &Build<'_>, section: &Section, findings: &mut Findings) -> Option<SocketAddr> {
    let value = section.written("bind")?;
    section.written("port")?;
    let port: u16 = section.number("port");
    let host = value.text.trim_start_matches('[').trim_end_matches(']');
    let parsed = host
        .parse::<IpAddr>()
        .ok()
        .or_else(|| (build.surroundings.resolve)(host));
    if let Some(ip) = parsed {
        return Some(SocketAddr::new(ip, port));
    }
    let message = format!("The host name `{host}` cannot be resolved on this machine.");
    let finding = if build.surroundings.starting {
        Finding::error("unknown-host", message)
    } else {
        Finding::warning("unknown-host", message)
    };
    findings.add(
        finding
            .at(&value.place)
            .key(&value.key)
            .flume("starts, and the source does not listen.")
            .remedy("Write an address of this machine, or 0.0.0.0 for all of them."),
    );
    (!build.surroundings.starting)
        .then_some(SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), port))
}

fn ip_filter(section: &Section, findings: &mut Findings) -> Vec<IpFilterRule> {
    let rules = section.written("ipFilterRules");
    if !section.boolean("ipFilter") {
        if let Some(value) = rules {
            findings.add(
                Finding::warning(
                    "no-effect",
                    "The rules have no effect without `ipFilter = true`: everyone may connect.",
                )
                .at(&value.place)
                .key(&value.key)
                .flume("lets everyone connect, too.")
                .remedy("Set ipFilter = true, or remove the rules."),
            );
        }
        return Vec::new();
    }
    let Some(value) = rules else {
        if let Some(filter) = section.written("ipFilter") {
            findings.add(
                Finding::error("missing-key", "ipFilter = true needs ipFilterRules.")
                    .at(&filter.place)
                    .key(&filter.key)
                    .flume("removes the source and starts without it.")
                    .remedy("Add `ipFilterRules = allow:ip:10.*,deny:ip:*`."),
            );
        }
        return Vec::new();
    };
    let mut parsed = Vec::new();
    for rule in value.text.split(',').map(str::trim) {
        let mut parts = rule.splitn(3, ':');
        let (action, by, pattern) = (parts.next(), parts.next(), parts.next());
        match (action, by, pattern) {
            (Some(action @ ("allow" | "deny")), Some(by @ ("ip" | "name")), Some(pattern))
                if !pattern.is_empty() =>
            {
                parsed.push(IpFilterRule {
                    allow: action == "allow",
                    by_name: by == "name",
                    pattern: pattern.to_owned(),
                });
            }
            _ => findings.add(
                Finding::error(
                    "bad-value",
                    format!("`{rule}` is not a rule `<allow|deny>:<ip|name>:<pattern>`."),
                )
                .at(&value.place)
                .key(&value.key)
                .flume("removes the source and starts without it.")
                .remedy("Correct the rule; for example deny:ip:10.1.*."),
            ),
        }
    }
    parsed
}

/// The optional channels of the replicating selector.
fn selector(
    build: &Build<'_>,
    name: &str,
    raw: &Raw,
    channels: &[String],
    anchor: &Place,
    findings: &mut Findings,
) -> Vec<String> {
    let mut own = below(raw, "selector.");
    if own.is_empty() {
        return Vec::new();
    }
    let path = format!("{}.sources.{name}.selector", build.agent);
    let kind = if own.contains_key("type") {
        component_of(Role::Selector, "type", &path, anchor, &own, findings)
    } else {
        catalogue::find(Role::Selector, "replicating")
    };
    let Some(kind) = kind.filter(|kind| kind.support == Support::Runs) else {
        return Vec::new();
    };
    if let Some(value) = own.get_mut("type") {
        value.text = kind.alias.to_owned();
    }
    let section = Section::check(kind, &path, anchor, &own, findings);
    let optional = section.words("optional");
    for channel in optional
        .iter()
        .filter(|channel| !channels.contains(channel))
    {
        let value = &own["optional"];
        findings.add(
            Finding::error(
                "unknown-channel",
                format!("`{channel}` is optional, but not a channel of the source."),
            )
            .at(&value.place)
            .key(&value.key)
            .flume("removes the source and starts without it.")
            .remedy(format!(
                "Add `{channel}` to the source's channels, or take it out of `optional`."
            )),
        );
    }
    optional
}

fn interceptors(
    build: &Build<'_>,
    name: &str,
    raw: &Raw,
    section: &Section,
    findings: &mut Findings,
) -> Vec<InterceptorConfig> {
    let listed = section.words("interceptors");
    let mut configs = Vec::new();
    for interceptor in &listed {
        let path = format!("{}.sources.{name}.interceptors.{interceptor}", build.agent);
        let mut own = below(raw, &format!("interceptors.{interceptor}."));
        let Some(list) = raw.get("interceptors") else {
            continue;
        };
        let Some(kind) = component_of(
            Role::Interceptor,
            "type",
            &path,
            &list.place,
            &own,
            findings,
        ) else {
            continue;
        };
        if kind.support != Support::Runs {
            continue;
        }
        if let Some(value) = own.get_mut("type") {
            value.text = kind.alias.to_owned();
        }
        let section = Section::check(kind, &path, &list.place, &own, findings);
        let preserve_existing = section.boolean("preserveExisting");
        configs.push(match kind.alias {
            "timestamp" => InterceptorConfig::Timestamp {
                header: section.string("headerName"),
                preserve_existing,
            },
            "host" => InterceptorConfig::Host {
                header: section.string("hostHeader"),
                use_ip: section.boolean("useIP"),
                preserve_existing,
            },
            "static" => InterceptorConfig::Static {
                key: section.string("key"),
                value: section.string("value"),
                preserve_existing,
            },
            other => unreachable!("the catalogue runs no interceptor {other}"),
        });
    }
    for (key, value) in below(raw, "interceptors.") {
        let owner = key.split('.').next().unwrap_or_default();
        if !listed.iter().any(|name| name == owner) {
            let nearest = names::nearest(owner, listed.iter().map(String::as_str));
            findings.add(
                Finding::warning("not-listed", format!("The interceptor `{owner}` is not in the source's `interceptors`, so it does not run."))
                    .at(&value.place)
                    .key(&value.key)
                    .flume("ignores it without a word.")
                    .remedy(nearest.map_or_else(|| format!("Add `{owner}` to the list, or remove its lines."), |near| format!("Did you mean `{near}`?"))),
            );
        }
    }
    configs
}
