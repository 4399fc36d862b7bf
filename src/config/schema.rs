//! What a component is and what a property is: the types of the tables in `catalogue`.
//!
//! Control plane only; constants. What is always true: a default in a table parses as the kind
//! that stands beside it (a test checks all), so readers of values need no second default.

use super::names;

/// Which part of an agent a component is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// `<agent>.sources.<name>`.
    Source,
    /// `<agent>.channels.<name>`.
    Channel,
    /// `<agent>.sinks.<name>`.
    Sink,
    /// `<agent>.sinkgroups.<name>`.
    SinkGroup,
    /// `<source>.interceptors.<name>`.
    Interceptor,
    /// `<source>.selector`.
    Selector,
}

impl Role {
    /// As an operator says it.
    pub fn word(self) -> &'static str {
        match self {
            Role::Source => "source",
            Role::Channel => "channel",
            Role::Sink => "sink",
            Role::SinkGroup => "sink group",
            Role::Interceptor => "interceptor",
            Role::Selector => "channel selector",
        }
    }

    /// What Flume removes when such a component is broken.
    pub fn removed(self) -> &'static str {
        match self {
            Role::Interceptor | Role::Selector => Role::Source.word(),
            Role::Source | Role::Channel | Role::Sink | Role::SinkGroup => self.word(),
        }
    }
}

/// What a value must look like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Anything; an inline comment cannot be told from text.
    Text,
    /// One word: a host, a name, an alias. Blanks end it.
    Word,
    /// Words between blanks.
    Words,
    /// A whole number in a range.
    Integer {
        /// Least value.
        min: i64,
        /// Greatest value.
        max: i64,
    },
    /// `true` or `false`.
    Boolean,
    /// One of these, in any case.
    Choice(&'static [&'static str]),
}

/// What we do with a property.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It has its effect.
    Used,
    /// Accepted without effect. The sentence says why.
    Inert(&'static str),
    /// Its work is not built yet: refused. The sentence says what and what to do meanwhile.
    Planned(&'static str),
    /// An old name; the new one.
    Old(&'static str),
}

/// One property of a component.
#[derive(Debug, Clone, Copy)]
pub struct Key {
    /// Flume's spelling, below the component's prefix. A last segment `*` stands for any text.
    pub name: &'static str,
    /// What values look like.
    pub kind: Kind,
    /// The default as it would be written in a file; none if there is none.
    pub default: Option<&'static str>,
    /// Whether a component without it cannot work.
    pub required: bool,
    /// What we do with it.
    pub fate: Fate,
    /// What it means, one sentence.
    pub meaning: &'static str,
    /// Where we differ from Flume, or what Flume does that surprises; empty for nothing.
    pub difference: &'static str,
}

impl Key {
    const fn new(name: &'static str, kind: Kind, meaning: &'static str) -> Self {
        Self {
            name,
            kind,
            default: None,
            required: false,
            fate: Fate::Used,
            meaning,
            difference: "",
        }
    }

    /// The same key with a default.
    pub const fn default(mut self, default: &'static str) -> Self {
        self.default = Some(default);
        self
    }

    /// The same key, required.
    pub const fn required(mut self) -> Self {
        self.required = true;
        self
    }

    /// The same key, with a difference to Flume.
    pub const fn differs(mut self, difference: &'static str) -> Self {
        self.difference = difference;
        self
    }

    /// The same key, without effect.
    pub const fn inert(mut self, why: &'static str) -> Self {
        self.fate = Fate::Inert(why);
        self
    }

    /// The same key, refused until it is built.
    pub const fn planned(mut self, why: &'static str) -> Self {
        self.fate = Fate::Planned(why);
        self
    }

    /// The same key, as the old name of `new`.
    pub const fn old(mut self, new: &'static str) -> Self {
        self.fate = Fate::Old(new);
        self
    }

    /// Whether `key` is this key, or below this key's `*`.
    pub fn matches(&self, key: &str) -> bool {
        match self.name.strip_suffix('*') {
            Some(prefix) => key.len() > prefix.len() && key.starts_with(prefix),
            None => key == self.name,
        }
    }
}

/// A key of free text.
pub const fn text(name: &'static str, meaning: &'static str) -> Key {
    Key::new(name, Kind::Text, meaning)
}

/// A key of one word.
pub const fn word(name: &'static str, meaning: &'static str) -> Key {
    Key::new(name, Kind::Word, meaning)
}

/// A key of a list.
pub const fn words(name: &'static str, meaning: &'static str) -> Key {
    Key::new(name, Kind::Words, meaning)
}

/// A key of a whole number.
pub const fn integer(name: &'static str, min: i64, max: i64, meaning: &'static str) -> Key {
    Key::new(name, Kind::Integer { min, max }, meaning)
}

/// A key of `true` or `false`.
pub const fn boolean(name: &'static str, meaning: &'static str) -> Key {
    Key::new(name, Kind::Boolean, meaning)
}

/// A key with few possible values.
pub const fn choice(
    name: &'static str,
    choices: &'static [&'static str],
    meaning: &'static str,
) -> Key {
    Key::new(name, Kind::Choice(choices), meaning)
}

/// Whether we run a component.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Support {
    /// It runs.
    Runs,
    /// It comes later: refused. The sentence is the remedy meanwhile.
    Planned(&'static str),
    /// It will not come: refused. The sentence says why and what to use.
    Never(&'static str),
}

/// One component of Flume.
#[derive(Debug, Clone, Copy)]
pub struct Component {
    /// Which part of an agent.
    pub role: Role,
    /// `type = alias`, any case; empty where Flume has none.
    pub alias: &'static str,
    /// `type = class`.
    pub class: &'static str,
    /// Whether we run it.
    pub support: Support,
    /// Its properties. Empty for planned components whose properties are not judged yet.
    pub keys: &'static [Key],
}

impl Component {
    /// The alias, or the last part of the class name.
    pub fn name(&self) -> &'static str {
        if self.alias.is_empty() {
            self.class.rsplit('.').next().unwrap_or(self.class)
        } else {
            self.alias
        }
    }

    /// Whether `value` of `type` means this component. Flume compares aliases in any case, class names
    /// exactly; a builder's class may be written with or without `$Builder`.
    pub fn is(&self, value: &str) -> bool {
        let class = self.class.strip_suffix("$Builder").unwrap_or(self.class);
        (!self.alias.is_empty() && self.alias.eq_ignore_ascii_case(value))
            || value == self.class
            || value == class
    }

    /// The key that `key` is, if it is one.
    pub fn key(&self, key: &str) -> Option<&'static Key> {
        self.keys
            .iter()
            .find(|known| known.name == key)
            .or_else(|| self.keys.iter().find(|known| known.matches(key)))
    }

    /// The key a writer of `key` most likely meant.
    pub fn nearest(&self, key: &str) -> Option<&'static str> {
        let written: Vec<&'static str> = self
            .keys
            .iter()
            .filter(|k| !matches!(k.fate, Fate::Old(_)) && !k.name.ends_with('*'))
            .map(|k| k.name)
            .collect();
        // `rollInterval` for `hdfs.rollInterval`, `kafka.flumeBatchSize` for `flumeBatchSize`.
        let tail = |name: &str| {
            name.rsplit('.')
                .next()
                .unwrap_or_default()
                .to_ascii_lowercase()
        };
        let nearest = names::nearest(key, written.iter().copied());
        nearest.or_else(|| written.into_iter().find(|name| tail(name) == tail(key)))
    }
}
