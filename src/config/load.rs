//! From merged files to one checked agent: lists, components, and how they fit together.
//!
//! Control plane only. What is always true of a [`Loaded`]: `agent` is there only if it can start; without
//! `--flume-lenient` that means there is no error among the findings.

use std::collections::{BTreeMap, BTreeSet};

use super::build::{self, Build};
use super::catalogue;
use super::check;
use super::component_type::{component_of, word_of};
use super::diagnostic::{Finding, Findings, Place};
use super::files::Files;
use super::model::{AgentConfig, SinkConfig, SourceConfig};
use super::names;
use super::schema::{Role, Support};
use super::section::{Raw, Section, Value, without_comment};
use super::surroundings::Surroundings;

/// What came out of loading one agent.
#[derive(Debug)]
pub struct Loaded {
    /// The agent, if it may start.
    pub agent: Option<AgentConfig>,
    /// All findings, in the order of the files.
    pub findings: Findings,
}

/// Loads `agent` from `files`.
pub fn load(files: &Files, agent: &str, surroundings: &Surroundings) -> Loaded {
    let mut findings = files.findings.clone();
    let loaded = Loader::new(files, agent, surroundings, &mut findings)
        .and_then(|mut loader| loader.agent(&mut findings));
    findings.sort();
    let agent = loaded.filter(|_| surroundings.lenient || !findings.has_errors());
    Loaded { agent, findings }
}

/// Properties of one kind of component: below each name, and the list that names them.
#[derive(Default)]
struct Kind {
    list: Option<Value>,
    components: BTreeMap<String, Raw>,
}

struct Loader<'a> {
    name: &'a str,
    surroundings: &'a Surroundings,
    kinds: BTreeMap<&'static str, Kind>,
}

const KINDS: [(&str, Role); 4] = [
    ("sources", Role::Source),
    ("channels", Role::Channel),
    ("sinks", Role::Sink),
    ("sinkgroups", Role::SinkGroup),
];

impl<'a> Loader<'a> {
    fn new(
        files: &Files,
        name: &'a str,
        surroundings: &'a Surroundings,
        findings: &mut Findings,
    ) -> Option<Self> {
        let known = files.agents();
        if !known.iter().any(|agent| agent == name) {
            findings.add(no_such_agent(name, &known));
            return None;
        }
        for (segment, property) in files.first_segments() {
            if !known.iter().any(|agent| agent == segment)
                && names::nearest(segment, [name]).is_some()
            {
                findings.add(
                    Finding::warning("unknown-agent", format!("No agent `{segment}` has a list of components, so this line belongs to nothing."))
                        .at(&property.key_place)
                        .key(&property.key)
                        .flume("takes it for another agent's and ignores it.")
                        .remedy(format!("Did you mean `{name}`?")),
                );
            }
        }
        let mut loader = Self {
            name,
            surroundings,
            kinds: KINDS
                .iter()
                .map(|(kind, _)| (*kind, Kind::default()))
                .collect(),
        };
        for (rest, value) in files.below_agent(name, surroundings, findings) {
            loader.sort_in(&rest, value, findings);
        }
        Some(loader)
    }

    fn sort_in(&mut self, rest: &str, value: Value, findings: &mut Findings) {
        let (kind, below) = rest
            .split_once('.')
            .map_or((rest, None), |(kind, below)| (kind, Some(below)));
        if kind == "configfilters" {
            findings.add(
                Finding::error("not-yet", "Config filters are not built yet.")
                    .at(&value.place)
                    .key(&value.key)
                    .flume("asks the filter for secrets.")
                    .remedy("Use environment variables, `${env:NAME}`, and remove the filter."),
            );
            return;
        }
        let Some(group) = self.kinds.get_mut(kind) else {
            let nearest = names::nearest(kind, KINDS.iter().map(|(kind, _)| *kind));
            findings.add(
                Finding::warning(
                    "invalid-key",
                    format!("`{kind}` is no part of an agent, so the line has no effect."),
                )
                .at(&value.place)
                .key(&value.key)
                .flume("Invalid property specified; Configuration property ignored.")
                .remedy(nearest.map_or(
                    "Write sources, channels, sinks or sinkgroups.".to_owned(),
                    |kind| format!("Did you mean `{}.{kind}`?", self.name),
                )),
            );
            return;
        };
        match below.map(|below| below.split_once('.').unwrap_or((below, ""))) {
            None => group.list = Some(value),
            Some((component, key)) if !component.is_empty() && !key.is_empty() => {
                group
                    .components
                    .entry(component.to_owned())
                    .or_default()
                    .insert(key.to_owned(), value);
            }
            Some(_) => findings.add(
                Finding::warning(
                    "invalid-key",
                    "A component's name without a property says nothing.",
                )
                .at(&value.place)
                .key(&value.key)
                .flume("Invalid property specified; Configuration property ignored.")
                .remedy(format!(
                    "Write `{}.{kind}.<name>.<property> = …`.",
                    self.name
                )),
            ),
        }
    }

    fn agent(&mut self, findings: &mut Findings) -> Option<AgentConfig> {
        let channel_names = self.listed("channels", findings);
        let source_names = self.listed("sources", findings);
        let sink_names = self.listed("sinks", findings);
        let group_names = self.listed("sinkgroups", findings);
        for (kind, names) in [
            ("channels", &channel_names),
            ("sources", &source_names),
            ("sinks", &sink_names),
            ("sinkgroups", &group_names),
        ] {
            self.unlisted(kind, names, findings);
        }
        let grouped = self.groups(&group_names, &sink_names, findings);

        let mut build = Build {
            agent: self.name,
            surroundings: self.surroundings,
            channel_names: channel_names.clone(),
            default_directories: 0,
        };
        build.default_directories = self.default_directories(&channel_names);
        let channels: Vec<_> = channel_names
            .iter()
            .filter_map(|name| {
                self.component(
                    "channels",
                    Role::Channel,
                    name,
                    findings,
                    |section, anchor, findings| {
                        build::channel(&build, name, section, anchor, findings)
                    },
                )
            })
            .collect();
        let built: BTreeSet<String> = channels
            .iter()
            .map(|channel| channel.name.clone())
            .collect();
        let sources: Vec<SourceConfig> = source_names
            .iter()
            .filter_map(|name| {
                let raw = self.kinds["sources"]
                    .components
                    .get(name)
                    .cloned()
                    .unwrap_or_default();
                self.component(
                    "sources",
                    Role::Source,
                    name,
                    findings,
                    |section, anchor, findings| {
                        build::source(&build, name, &raw, section, anchor, findings)
                    },
                )
            })
            .collect();
        let sinks: Vec<SinkConfig> = sink_names
            .iter()
            .filter_map(|name| {
                self.component(
                    "sinks",
                    Role::Sink,
                    name,
                    findings,
                    |section, anchor, findings| {
                        build::sink(&build, name, section, anchor, findings)
                    },
                )
            })
            .collect();

        let mut agent = AgentConfig {
            name: self.name.to_owned(),
            sources,
            channels,
            sinks,
        };
        check::batches(&mut agent, &self.places("sinks"), findings);
        check::together(
            &agent,
            &self.places("sources"),
            &self.places("channels"),
            &self.places("sinks"),
            &grouped,
            findings,
        );
        self.leave_out(&mut agent, &built, findings);
        self.unused_channels(&agent, &channel_names, &source_names, &sink_names, findings);
        if agent.channels.is_empty() || (agent.sources.is_empty() && agent.sinks.is_empty()) {
            if findings.has_errors() && !self.surroundings.lenient {
                return None; // Those errors are why.
            }
            findings.add(
                Finding::error("nothing-to-run", format!("Nothing of the agent `{}` can run: it needs a channel, and a source or a sink.", self.name))
                    .key(self.name)
                    .flume("drops the agent; the process stays up and does nothing.")
                    .remedy("Correct the findings above, or list the components."),
            );
            return None;
        }
        Some(agent)
    }

    /// Names of a list, each once.
    fn listed(&self, kind: &'static str, findings: &mut Findings) -> Vec<String> {
        let Some(list) = &self.kinds[kind].list else {
            return Vec::new();
        };
        let text = without_comment(list, "takes each word of it for a name.", findings);
        let mut names: Vec<String> = Vec::new();
        for name in text.split_whitespace() {
            if names.iter().any(|known| known == name) {
                findings.add(
                    Finding::warning(
                        "listed-twice",
                        format!("`{name}` is listed twice; once is enough."),
                    )
                    .at(&list.place)
                    .key(&list.key)
                    .flume("takes it once.")
                    .remedy("Remove one."),
                );
                continue;
            }
            names.push(name.to_owned());
        }
        let configured = &self.kinds[kind].components;
        for name in &names {
            if configured.contains_key(name) {
                continue;
            }
            let nearest = names::nearest(name, configured.keys().map(String::as_str));
            let commas = name.contains(',');
            let remedy = match nearest {
                _ if commas => "Separate names with blanks, not commas.".to_owned(),
                Some(near) => format!("Did you mean `{near}`?"),
                None => format!(
                    "Add `{}.{name}.type = …`, or take the name off the list.",
                    list.key
                ),
            };
            findings.add(
                Finding::error(
                    "not-configured",
                    format!("`{name}` is listed, but nothing configures it."),
                )
                .at(&list.place)
                .key(&list.key)
                .flume("removes it and starts without it.")
                .remedy(remedy),
            );
        }
        names
    }

    fn unlisted(&self, kind: &'static str, names: &[String], findings: &mut Findings) {
        for (name, raw) in &self.kinds[kind].components {
            if names.contains(name) {
                continue;
            }
            let Some(value) = raw.values().min_by(|a, b| a.place.cmp(&b.place)) else {
                continue;
            };
            let proper = names
                .iter()
                .map(String::as_str)
                .filter(|name| !name.contains(','));
            let remedy = match names::nearest(name, proper) {
                Some(near) => format!("Did you mean `{near}`?"),
                None => format!(
                    "Add `{name}` to `{}.{kind}`, or remove its lines.",
                    self.name
                ),
            };
            findings.add(
                Finding::warning("not-listed", format!("`{name}` is configured, but `{}.{kind}` does not list it, so it does not run.", self.name))
                    .at(&value.place)
                    .key(&value.key)
                    .flume("ignores it with a warning.")
                    .remedy(remedy),
            );
        }
    }

    /// Checks sink groups; the names of the sinks in them.
    fn groups(
        &self,
        groups: &[String],
        sinks: &[String],
        findings: &mut Findings,
    ) -> BTreeSet<String> {
        let mut grouped = BTreeSet::new();
        for group in groups {
            let Some(raw) = self.kinds["sinkgroups"].components.get(group) else {
                continue;
            };
            let path = format!("{}.sinkgroups.{group}", self.name);
            let anchor = first_place(raw);
            let members: Vec<String> = raw
                .get("sinks")
                .map(|value| without_comment(value, "takes each word of it for a name.", findings))
                .unwrap_or_default()
                .split_whitespace()
                .map(str::to_owned)
                .collect();
            for member in members.iter().filter(|member| !sinks.contains(member)) {
                findings.add(
                    Finding::error("unknown-sink", format!("The sink group `{group}` names `{member}`, which is no sink of the agent."))
                        .at(&raw["sinks"].place)
                        .key(&raw["sinks"].key)
                        .flume("aborts the load of the whole agent.")
                        .remedy(format!("List `{member}` in `{}.sinks`, or take it out of the group.", self.name)),
                );
            }
            if raw
                .get("processor.type")
                .is_none_or(|value| value.text.is_empty())
            {
                findings.add(
                    Finding::warning("missing-type", format!("The sink group `{group}` has no processor.type, so there is no group: its sinks run alone."))
                        .at(&anchor)
                        .key(format!("{path}.processor.type"))
                        .flume("removes the group; its sinks run alone.")
                        .remedy(format!("Remove the group, or add `{path}.processor.type = failover` or load_balance.")),
                );
                continue;
            }
            let Some(kind) = component_of(
                Role::SinkGroup,
                "processor.type",
                &path,
                &anchor,
                raw,
                findings,
            ) else {
                grouped.extend(members);
                continue;
            };
            Section::check(kind, &path, &anchor, raw, findings);
            for (key, value) in raw {
                let Some(sink) = key.strip_prefix("processor.priority.") else {
                    continue;
                };
                if !members.iter().any(|member| member == sink) {
                    let nearest = names::nearest(
                        sink,
                        members.iter().map(String::as_str).chain(["maxpenalty"]),
                    );
                    findings.add(
                        Finding::warning(
                            "unknown-sink",
                            format!(
                                "`{sink}` is no sink of the group, so its priority has no effect."
                            ),
                        )
                        .at(&value.place)
                        .key(&value.key)
                        .flume("takes it for the priority of a sink of that name, without a word.")
                        .remedy(match nearest {
                            Some("maxpenalty") => {
                                format!("Did you mean `{path}.processor.maxpenalty`?")
                            }
                            Some(near) => format!("Did you mean `{near}`?"),
                            None => "Remove the line.".to_owned(),
                        }),
                    );
                }
            }
            grouped.extend(members);
        }
        grouped
    }

    /// Looks up one component's type, checks its properties and builds it, unless an error is found.
    fn component<T>(
        &self,
        kind: &'static str,
        role: Role,
        name: &str,
        findings: &mut Findings,
        build: impl FnOnce(&Section, &Place, &mut Findings) -> Option<T>,
    ) -> Option<T> {
        let raw = self.kinds[kind].components.get(name)?;
        let path = format!("{}.{kind}.{name}", self.name);
        let anchor = raw
            .get("type")
            .map_or_else(|| first_place(raw), |value| value.place.clone());
        let mut own = Findings::new();
        let component = component_of(role, "type", &path, &anchor, raw, &mut own);
        let result = component.and_then(|component| {
            if component.keys.is_empty() {
                return None;
            }
            let section = Section::check(component, &path, &anchor, raw, &mut own);
            if component.support == Support::Runs {
                build(&section, &anchor, &mut own)
            } else {
                None
            }
        });
        let broken = own.has_errors();
        findings.extend(own);
        result.filter(|_| !broken)
    }

    /// Where each component of a kind is introduced.
    fn places(&self, kind: &'static str) -> BTreeMap<String, Place> {
        let place = |raw: &Raw| {
            raw.get("type")
                .map_or_else(|| first_place(raw), |value| value.place.clone())
        };
        self.kinds[kind]
            .components
            .iter()
            .map(|(name, raw)| (name.clone(), place(raw)))
            .collect()
    }

    /// How many file channels leave a directory out.
    fn default_directories(&self, names: &[String]) -> usize {
        let channels = names
            .iter()
            .filter_map(|name| self.kinds["channels"].components.get(name));
        channels
            .filter(|raw| {
                let kind = raw
                    .get("type")
                    .and_then(|value| catalogue::find(Role::Channel, word_of(&value.text)));
                kind.is_some_and(|kind| kind.alias == "file")
                    && (!raw.contains_key("checkpointDir") || !raw.contains_key("dataDirs"))
            })
            .count()
    }

    /// Takes out what hangs on a channel that is not there, as Flume does.
    fn leave_out(
        &self,
        agent: &mut AgentConfig,
        built: &BTreeSet<String>,
        findings: &mut Findings,
    ) {
        if !self.surroundings.lenient {
            return;
        }
        for source in &mut agent.sources {
            source
                .required_channels
                .retain(|channel| built.contains(channel));
            source
                .optional_channels
                .retain(|channel| built.contains(channel));
        }
        let before = agent.sources.len() + agent.sinks.len();
        agent
            .sources
            .retain(|source| !source.required_channels.is_empty());
        agent.sinks.retain(|sink| built.contains(&sink.channel));
        let gone = before - agent.sources.len() - agent.sinks.len();
        if gone > 0 {
            findings.add(
                Finding::warning(
                    "left-out",
                    format!("{gone} more sources or sinks are left out, because their channel is."),
                )
                .key(self.name)
                .flume("does the same."),
            );
        }
        let used = |name: &String| {
            agent.sinks.iter().any(|sink| sink.channel == *name)
                || agent.sources.iter().any(|s| {
                    s.required_channels.contains(name) || s.optional_channels.contains(name)
                })
        };
        agent.channels.retain(|channel| used(&channel.name));
    }

    fn unused_channels(
        &self,
        agent: &AgentConfig,
        channels: &[String],
        sources: &[String],
        sinks: &[String],
        findings: &mut Findings,
    ) {
        let text = |kind: &str, names: &[String], key: &str, channel: &str| {
            names
                .iter()
                .filter_map(|name| self.kinds[kind].components.get(name)?.get(key))
                .any(|value| value.text.split_whitespace().any(|word| word == channel))
        };
        for channel in channels
            .iter()
            .filter(|name| self.kinds["channels"].components.contains_key(*name))
        {
            let fed = text("sources", sources, "channels", channel);
            let drained = text("sinks", sinks, "channel", channel);
            let place = &self.places("channels")[channel];
            let key = format!("{}.channels.{channel}", self.name);
            if !fed && !drained {
                findings.add(
                    Finding::error(
                        "unused-channel",
                        format!("The channel `{channel}` has no source and no sink."),
                    )
                    .at(place)
                    .key(key)
                    .flume("Channel has no components connected and has been removed.")
                    .remedy("Connect it, or take it off the list."),
                );
            } else if !drained
                && !findings.has_errors()
                && agent.channels.iter().any(|built| built.name == *channel)
            {
                findings.add(
                    Finding::warning(
                        "undrained-channel",
                        format!("No sink drains the channel `{channel}`, so it fills up."),
                    )
                    .at(place)
                    .key(key)
                    .flume("runs until the channel is full, then refuses every batch.")
                    .remedy("Add a sink with this channel."),
                );
            }
        }
    }
}

fn no_such_agent(name: &str, known: &[String]) -> Finding {
    let there = if known.is_empty() {
        "The files configure no agent.".to_owned()
    } else {
        format!("The files configure: {}.", known.join(", "))
    };
    let nearest = names::nearest(name, known.iter().map(String::as_str));
    let near = nearest.or(if let [only] = known {
        Some(only.as_str())
    } else {
        None
    });
    Finding::error(
        "unknown-agent",
        format!("No configuration found for the agent `{name}`. {there}"),
    )
    .key("--name")
    .flume("warns `No configuration found for this host`, stays up and does nothing.")
    .remedy(
        near.map_or("Give one of them with --name.".to_owned(), |near| {
            format!("Did you mean --name {near}?")
        }),
    )
}

fn first_place(raw: &Raw) -> Place {
    raw.values()
        .map(|value| &value.place)
        .min()
        .cloned()
        .expect("a component is there because a key names it")
}
