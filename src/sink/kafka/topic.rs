//! Which topic an event goes to.
//!
//! | `allowTopicOverride` | event has `topicHeader` | topic                            |
//! |----------------------|-------------------------|----------------------------------|
//! | false                | either                  | `kafka.topic` as it is written   |
//! | true                 | yes                     | the header's value               |
//! | true                 | no                      | `kafka.topic`, escapes expanded  |
//!
//! Owned by one sink; fixed after start.

use crate::config::KafkaSinkConfig;
use crate::event::EventView;

/// The longest name a broker takes.
pub(super) const TOPIC_BYTES_MAX: usize = 249;
/// As much of a name that is none is shown.
const SHOWN_CHARS_MAX: usize = 64;

/// Whether Kafka can have a topic of this name.
pub(super) fn is_topic(name: &str) -> bool {
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    !matches!(name, "" | "." | "..") && name.len() <= TOPIC_BYTES_MAX && name.bytes().all(legal)
}

/// The beginning of a name that may hold anything, for a line of the log.
pub(super) fn shown(name: &str) -> String {
    let mut chars = name.chars();
    let beginning = chars.by_ref().take(SHOWN_CHARS_MAX);
    let mut shown: String = beginning.flat_map(char::escape_debug).collect();
    if chars.next().is_some() {
        shown.push('…');
    }
    shown
}

/// Why an event has no topic: what the escape engine says.
pub type EscapeError = Box<dyn std::error::Error + Send + Sync>;

/// Expands the escapes of `kafka.topic` for one event, appending to the text.
pub type Escape = Box<dyn Fn(&EventView<'_>, &mut String) -> Result<(), EscapeError>>;

/// `kafka.topic`, `allowTopicOverride` and `topicHeader`.
pub struct TopicName {
    text: String,
    header: Option<Vec<u8>>,
    escape: Option<Escape>,
}

impl std::fmt::Debug for TopicName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TopicName")
            .field("text", &self.text)
            .field("escaped", &self.escape.is_some())
            .finish_non_exhaustive()
    }
}

impl TopicName {
    /// What the configuration says. `escape` builds the expansion of a text with escapes; it is asked
    /// only when the text has some and they count.
    #[must_use]
    pub fn new(config: &KafkaSinkConfig, escape: impl FnOnce(&str) -> Escape) -> Self {
        let counts = config.allow_topic_override && config.topic.contains('%');
        Self {
            text: config.topic.clone(),
            header: config
                .allow_topic_override
                .then(|| config.topic_header.clone().into_bytes()),
            escape: counts.then(|| escape(&config.topic)),
        }
    }

    /// `kafka.topic` as it is written.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Puts the topic of `event` into `topic`.
    ///
    /// # Errors
    /// An escape could not be expanded.
    pub fn resolve(&self, event: &EventView<'_>, topic: &mut String) -> Result<(), EscapeError> {
        let named = self.header.as_ref().and_then(|header| event.header(header));
        match (named, &self.escape) {
            (Some(named), _) => {
                topic.clear();
                topic.push_str(&String::from_utf8_lossy(named));
            }
            (None, Some(escape)) => {
                topic.clear();
                escape(event, topic)?;
            }
            // Most sinks have one topic: the text stays from one event to the next.
            (None, None) if *topic == self.text => {}
            (None, None) => topic.clone_from(&self.text),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_that_kafka_takes() {
        let longest = "x".repeat(TOPIC_BYTES_MAX);
        for name in ["t", "a.b_c-D9", "...", longest.as_str()] {
            assert!(is_topic(name), "{name}");
        }
        let too_long = format!("{longest}x");
        for name in ["", ".", "..", "a b", "ä", "a\0b", "%{x}", too_long.as_str()] {
            assert!(!is_topic(name), "{name:?}");
        }
    }

    #[test]
    fn what_is_no_name_is_shown_readable_and_short() {
        assert_eq!(shown("a\0b\n"), "a\\0b\\n");
        assert_eq!(shown(&"x".repeat(65)), "x".repeat(64) + "…");
    }
}
