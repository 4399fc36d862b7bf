//! How components fit together: batches and transactions, directories, ports, sinks on one channel.
//!
//! Control plane only. Nothing here changes the agent but [`batches`], which takes out sinks that can
//! never commit, as Flume does.

use std::collections::{BTreeMap, BTreeSet};
use std::mem::discriminant;

use super::diagnostic::{Finding, Findings, Place};
use super::model::{AgentConfig, ChannelKind, InterceptorConfig, SinkConfig, SinkKind, SourceKind};

/// Where each component is introduced, by name.
pub(super) type Places = BTreeMap<String, Place>;

/// Sinks whose batch is greater than their channel's transaction are errors, and go.
pub(super) fn batches(agent: &mut AgentConfig, places: &Places, findings: &mut Findings) {
    let AgentConfig {
        name,
        channels,
        sinks,
        ..
    } = agent;
    sinks.retain(|sink| {
        let Some(channel) = channels.iter().find(|channel| channel.name == sink.channel) else { return true };
        let (batch, capacity) = (batch_size(sink), channel.transaction_capacity);
        let fits = batch <= capacity;
        if !fits {
            findings.add(at(
                Finding::error("batch-over-transaction", format!("The sink's batch size, {batch}, is greater than the transactionCapacity of its channel `{}`, {capacity}.", channel.name))
                    .key(format!("{name}.sinks.{}", sink.name))
                    .flume("Incompatible sink and channel settings defined: removes the sink and starts without it.")
                    .remedy(format!("Set the batch size to {capacity} or less, or {name}.channels.{}.transactionCapacity to {batch} or more.", channel.name)),
                places.get(&sink.name),
            ));
        }
        fits
    });
}

fn batch_size(sink: &SinkConfig) -> usize {
    match &sink.kind {
        SinkKind::Logger { .. } => 1,
        SinkKind::Null { batch_size, .. } => *batch_size,
        SinkKind::FileRoll(config) => config.batch_size,
        SinkKind::Kafka(config) => config.batch_size,
        SinkKind::Hdfs(config) => config.batch_size,
    }
}

fn at(finding: Finding, place: Option<&Place>) -> Finding {
    match place {
        Some(place) => finding.at(place),
        None => finding,
    }
}

/// Findings that need more than one component.
pub(super) fn together(
    agent: &AgentConfig,
    sources: &Places,
    channels: &Places,
    sinks: &Places,
    grouped: &BTreeSet<String>,
    findings: &mut Findings,
) {
    ports(agent, sources, findings);
    directories(agent, channels, findings);
    competition(agent, sinks, grouped, findings);
    timestamps(agent, sinks, findings);
    outputs(agent, sinks, findings);
}

fn ports(agent: &AgentConfig, places: &Places, findings: &mut Findings) {
    for (index, source) in agent.sources.iter().enumerate() {
        let SourceKind::Avro(own) = &source.kind;
        let clash = agent.sources.iter().take(index).find(|earlier| {
            let SourceKind::Avro(other) = &earlier.kind;
            let (a, b) = (own.address, other.address);
            a.port() == b.port()
                && (a.ip() == b.ip() || a.ip().is_unspecified() || b.ip().is_unspecified())
        });
        if let Some(earlier) = clash {
            findings.add(at(
                Finding::error(
                    "same-port",
                    format!(
                        "The sources `{}` and `{}` listen on the same port, {}.",
                        earlier.name,
                        source.name,
                        own.address.port()
                    ),
                )
                .key(format!("{}.sources.{}.port", agent.name, source.name))
                .flume("starts the first; the second fails: Address already in use.")
                .remedy("Give them different ports, or use one source for both."),
                places.get(&source.name),
            ));
        }
    }
}

fn directories(agent: &AgentConfig, places: &Places, findings: &mut Findings) {
    let mut owners: BTreeMap<&std::path::Path, &str> = BTreeMap::new();
    for channel in &agent.channels {
        let ChannelKind::File(config) = &channel.kind else {
            continue;
        };
        for directory in config.data_dirs.iter().chain([&config.checkpoint_dir]) {
            match owners.get(directory.as_path()) {
                Some(owner) if *owner != channel.name => findings.add(at(
                    Finding::error("same-directory", format!("The channels `{owner}` and `{}` use the same directory, {}.", channel.name, directory.display()))
                        .key(format!("{}.channels.{}", agent.name, channel.name))
                        .flume(format!("opens the first channel; the second stays closed: Cannot lock {}. The directory is already locked.", directory.display()))
                        .remedy("Give each channel its own checkpointDir and dataDirs."),
                    places.get(&channel.name),
                )),
                _ => {
                    owners.insert(directory, &channel.name);
                }
            }
        }
    }
}

fn competition(
    agent: &AgentConfig,
    places: &Places,
    grouped: &BTreeSet<String>,
    findings: &mut Findings,
) {
    let mut first: BTreeMap<(&str, Option<&str>), &SinkConfig> = BTreeMap::new();
    for sink in agent
        .sinks
        .iter()
        .filter(|sink| !grouped.contains(&sink.name))
    {
        let key = (sink.channel.as_str(), sink.group.as_deref());
        let Some(earlier) = first.get(&key) else {
            first.insert(key, sink);
            continue;
        };
        let message = format!(
            "The sinks `{}` and `{}` compete for the events of the channel `{}`: each event goes to one of them, not to both.",
            earlier.name, sink.name, sink.channel
        );
        let finding = if discriminant(&earlier.kind) == discriminant(&sink.kind) {
            // Several sinks of one kind are how Flume users ask for parallel delivery.
            Finding::note("competing-sinks", message)
        } else {
            Finding::warning("competing-sinks", message)
        };
        findings.add(at(
            finding
                .key(format!("{}.sinks.{}.channel", agent.name, sink.name))
                .flume("shares the events between them as well.")
                .remedy("If each is to get every event, give them different groups (`group = name`), or each its own channel. If sharing is meant, nothing."),
            places.get(&sink.name),
        ));
    }
}

/// Whether a path holds an escape of time.
fn has_time_escape(path: &str) -> bool {
    let mut characters = path.chars();
    while let Some(character) = characters.next() {
        if character == '%'
            && characters
                .next()
                .is_some_and(|next| "aAbBcdDeHIjklmMnpsStyYz".contains(next))
        {
            return true;
        }
    }
    false
}

fn timestamps(agent: &AgentConfig, places: &Places, findings: &mut Findings) {
    for sink in &agent.sinks {
        let SinkKind::Hdfs(config) = &sink.kind else {
            continue;
        };
        if config.use_local_timestamp
            || !(has_time_escape(&config.path) || has_time_escape(&config.file_prefix))
        {
            continue;
        }
        let bare = agent.sources.iter().find(|source| {
            let feeds = source.required_channels.contains(&sink.channel) || source.optional_channels.contains(&sink.channel);
            let stamps = source.interceptors.iter().any(|interceptor| matches!(interceptor, InterceptorConfig::Timestamp { header, .. } if header == "timestamp"));
            feeds && !stamps
        });
        if let Some(source) = bare {
            findings.add(at(
                Finding::warning("no-timestamp", format!("hdfs.path has time escapes, and the source `{}` adds no timestamp. Events that arrive without the header `timestamp` are filed by the time of arrival, and counted.", source.name))
                    .key(format!("{}.sinks.{}.hdfs.path", agent.name, sink.name))
                    .flume("fails on the first such event (Expected timestamp in the Flume event headers, but it was null) and delivers nothing from then on.")
                    .remedy(format!("Add a timestamp interceptor on the agents, or to `{}.sources.{}` (with preserveExisting = true), or set hdfs.useLocalTimeStamp = true.", agent.name, source.name)),
                places.get(&sink.name),
            ));
        }
    }
}

/// Two sinks that write the same files.
fn outputs(agent: &AgentConfig, places: &Places, findings: &mut Findings) {
    let mut first: BTreeMap<String, &str> = BTreeMap::new();
    for sink in &agent.sinks {
        let target = match &sink.kind {
            SinkKind::Hdfs(config) => {
                format!("{} with the prefix {}", config.path, config.file_prefix)
            }
            SinkKind::FileRoll(config) => format!(
                "{} with the prefix `{}`",
                config.directory.display(),
                config.prefix
            ),
            SinkKind::Logger { .. } | SinkKind::Null { .. } | SinkKind::Kafka(_) => continue,
        };
        if let Some(earlier) = first.get(&target) {
            findings.add(at(
                Finding::warning("same-files", format!("The sinks `{earlier}` and `{}` write to {target}; their file names may collide.", sink.name))
                    .key(format!("{}.sinks.{}", agent.name, sink.name))
                    .flume("writes both; a collision fails or overwrites.")
                    .remedy("Give them different prefixes."),
                places.get(&sink.name),
            ));
        } else {
            first.insert(target, &sink.name);
        }
    }
}
