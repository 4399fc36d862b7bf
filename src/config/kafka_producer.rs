//! `kafka.producer.*`: what each option of the Java producer becomes in librdkafka.
//!
//! Control plane only. What is always true: each option is mapped, or in a finding by name. Two
//! settings are always made: `partitioner` (so that a key lands on the partition where Java puts it)
//! and `enable.idempotence`.

use std::collections::BTreeMap;

use super::diagnostic::Finding;
use super::diagnostic::Findings;
use super::jaas;
use super::names;
use super::section::{Raw, Value, without_comment};

/// What an option becomes.
enum Rule {
    /// The same name and value.
    Same,
    /// Another name, the same value.
    Named(&'static str),
    /// A whole number in librdkafka's range, under this name.
    Number(&'static str, i64, i64),
    /// One of these values, any case, under the same name.
    OneOf(&'static [&'static str]),
    /// Seen elsewhere in this file.
    Elsewhere,
    /// Accepted without effect; why.
    Inert(&'static str),
    /// Refused; why and what instead.
    Refused(&'static str),
}

use Rule::{Elsewhere, Inert, Named, Number, OneOf, Refused, Same};

const INT: i64 = 2_147_483_647;
const METRICS: &str = "flumen has its own metrics, see /metrics.";
const CLASS: &str =
    "It names a Java class, which cannot run here. Remove it, or keep this agent on Flume.";
const OAUTH: &str = "OAUTHBEARER is not built yet. Use SCRAM or Kerberos.";
const TRANSACTIONS: &str =
    "flumen's sink does not use Kafka transactions; its producer is idempotent. Remove it.";
const STORE: &str = "It configures Java's cryptography, which is not used here.";

/// Options of the Java producer 2.7, and the two of Flume's.
const RULES: &[(&str, Rule)] = &[
    ("acks", Elsewhere),
    ("batch.size", Elsewhere),
    (
        "bootstrap.servers",
        Inert("`kafka.bootstrap.servers` counts, in Flume as well."),
    ),
    ("buffer.memory", Elsewhere),
    (
        "client.dns.lookup",
        OneOf(&[
            "use_all_dns_ips",
            "resolve_canonical_bootstrap_servers_only",
        ]),
    ),
    ("client.id", Same),
    (
        "compression.type",
        OneOf(&["none", "gzip", "snappy", "lz4", "zstd"]),
    ),
    (
        "connections.max.idle.ms",
        Number("connections.max.idle.ms", 0, INT),
    ),
    ("delivery.timeout.ms", Number("delivery.timeout.ms", 0, INT)),
    ("enable.idempotence", Elsewhere),
    ("interceptor.classes", Refused(CLASS)),
    ("key.serializer", Elsewhere),
    ("linger.ms", Number("linger.ms", 0, 900_000)),
    (
        "max.block.ms",
        Inert("flumen's sink waits for room in the producer's queue and for metadata by itself."),
    ),
    (
        "max.in.flight.requests.per.connection",
        Number("max.in.flight.requests.per.connection", 1, 1_000_000),
    ),
    (
        "max.request.size",
        Number("message.max.bytes", 1000, 1_000_000_000),
    ),
    (
        "metadata.max.age.ms",
        Number("topic.metadata.refresh.interval.ms", 0, 3_600_000),
    ),
    (
        "metadata.max.idle.ms",
        Inert("librdkafka keeps the metadata of topics it still sends to."),
    ),
    ("metric.reporters", Inert(METRICS)),
    ("metrics.num.samples", Inert(METRICS)),
    ("metrics.recording.level", Inert(METRICS)),
    ("metrics.sample.window.ms", Inert(METRICS)),
    ("partitioner.class", Elsewhere),
    ("receive.buffer.bytes", Elsewhere),
    (
        "reconnect.backoff.max.ms",
        Number("reconnect.backoff.max.ms", 0, 3_600_000),
    ),
    (
        "reconnect.backoff.ms",
        Number("reconnect.backoff.ms", 0, 3_600_000),
    ),
    (
        "request.timeout.ms",
        Number("request.timeout.ms", 1, 900_000),
    ),
    ("retries", Number("retries", 0, INT)),
    ("retry.backoff.ms", Number("retry.backoff.ms", 1, 300_000)),
    ("sasl.client.callback.handler.class", Refused(CLASS)),
    ("sasl.jaas.config", Elsewhere),
    (
        "sasl.kerberos.kinit.cmd",
        Inert("the ticket comes from the keytab of sasl.jaas.config."),
    ),
    (
        "sasl.kerberos.min.time.before.relogin",
        Number("sasl.kerberos.min.time.before.relogin", 0, 86_400_000),
    ),
    ("sasl.kerberos.service.name", Same),
    (
        "sasl.kerberos.ticket.renew.jitter",
        Inert("librdkafka renews at a fixed interval."),
    ),
    (
        "sasl.kerberos.ticket.renew.window.factor",
        Inert("librdkafka renews at a fixed interval."),
    ),
    ("sasl.login.callback.handler.class", Refused(CLASS)),
    ("sasl.login.class", Refused(CLASS)),
    ("sasl.login.refresh.buffer.seconds", Refused(OAUTH)),
    ("sasl.login.refresh.min.period.seconds", Refused(OAUTH)),
    ("sasl.login.refresh.window.factor", Refused(OAUTH)),
    ("sasl.login.refresh.window.jitter", Refused(OAUTH)),
    ("sasl.mechanism", Elsewhere),
    (
        "security.protocol",
        OneOf(&["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"]),
    ),
    ("security.providers", Refused(CLASS)),
    ("send.buffer.bytes", Elsewhere),
    (
        "socket.connection.setup.timeout.max.ms",
        Inert("librdkafka does not let the set-up timeout grow."),
    ),
    (
        "socket.connection.setup.timeout.ms",
        Number("socket.connection.setup.timeout.ms", 1000, INT),
    ),
    (
        "ssl.cipher.suites",
        Refused(
            "Java's names of cipher suites are not OpenSSL's. Remove it: TLS 1.2 and 1.3 with OpenSSL's defaults are used.",
        ),
    ),
    ("ssl.disableTLSHostnameVerification", Elsewhere),
    ("ssl.enabled.protocols", Elsewhere),
    ("ssl.endpoint.identification.algorithm", Elsewhere),
    ("ssl.engine.factory.class", Refused(CLASS)),
    ("ssl.key.password", Same),
    ("ssl.keymanager.algorithm", Inert(STORE)),
    (
        "ssl.keystore.certificate.chain",
        Named("ssl.certificate.pem"),
    ),
    ("ssl.keystore.key", Named("ssl.key.pem")),
    ("ssl.keystore.location", Elsewhere),
    ("ssl.keystore.password", Elsewhere),
    ("ssl.keystore.type", Elsewhere),
    ("ssl.protocol", Elsewhere),
    ("ssl.provider", Inert(STORE)),
    ("ssl.secure.random.implementation", Inert(STORE)),
    ("ssl.trustmanager.algorithm", Inert(STORE)),
    ("ssl.truststore.certificates", Named("ssl.ca.pem")),
    ("ssl.truststore.location", Elsewhere),
    ("ssl.truststore.password", Elsewhere),
    ("ssl.truststore.type", Elsewhere),
    ("transaction.timeout.ms", Refused(TRANSACTIONS)),
    ("transactional.id", Refused(TRANSACTIONS)),
    ("value.serializer", Elsewhere),
];

/// Each option's name with what becomes of it, in words, for the reference.
pub fn options() -> impl Iterator<Item = (&'static str, String)> {
    RULES.iter().map(|(name, rule)| {
        let fate = match rule {
            Same | OneOf(_) => format!("`{name}`"),
            Named(new) | Number(new, _, _) => format!("`{new}`"),
            Elsewhere => special(name).to_owned(),
            Inert(why) => format!("no effect: {why}"),
            Refused(why) => format!("refused: {why}"),
        };
        (*name, fate)
    })
}

fn special(name: &str) -> &'static str {
    match name {
        "acks" => "`acks`; 0 and 1 turn idempotence off. Not set: all (Flume: 1)",
        "batch.size" => "`batch.size`; 0 becomes `batch.num.messages = 1`",
        "buffer.memory" => "`queue.buffering.max.kbytes`",
        "enable.idempotence" => {
            "`enable.idempotence`; true unless acks, retries or in-flight requests forbid it"
        }
        "key.serializer" => "StringSerializer only",
        "value.serializer" => "ByteArraySerializer only",
        "partitioner.class" => {
            "DefaultPartitioner is `partitioner = murmur2_random`; others are refused"
        }
        "receive.buffer.bytes" => "`socket.receive.buffer.bytes`; -1 becomes 0",
        "send.buffer.bytes" => "`socket.send.buffer.bytes`; -1 becomes 0",
        "sasl.jaas.config" => {
            "PLAIN and SCRAM: `sasl.username`, `sasl.password`; Kerberos: `sasl.kerberos.keytab`, `sasl.kerberos.principal`"
        }
        "sasl.mechanism" => "`sasl.mechanism`: GSSAPI, PLAIN, SCRAM-SHA-256, SCRAM-SHA-512",
        "ssl.disableTLSHostnameVerification" => {
            "true: `ssl.endpoint.identification.algorithm = none`"
        }
        "ssl.endpoint.identification.algorithm" => "`https` or `none`",
        "ssl.enabled.protocols" | "ssl.protocol" => {
            "no effect: TLS 1.2 and 1.3; older versions are refused"
        }
        "ssl.keystore.location" | "ssl.keystore.password" | "ssl.keystore.type" => {
            "PKCS12: `ssl.keystore.*`; PEM: `ssl.key.location` and `ssl.certificate.location`; JKS is refused"
        }
        "ssl.truststore.location" | "ssl.truststore.password" | "ssl.truststore.type" => {
            "PEM: `ssl.ca.location`; JKS and PKCS12 are refused"
        }
        other => unreachable!("no words for {other}"),
    }
}

/// librdkafka's settings for the options of `raw`, whose keys have lost the prefix.
pub fn settings(raw: &Raw, findings: &mut Findings) -> BTreeMap<String, String> {
    let mut mapping = Mapping {
        raw,
        settings: BTreeMap::new(),
        findings,
    };
    for (name, value) in raw {
        match RULES.iter().find(|(known, _)| known == name) {
            Some((_, rule)) => mapping.apply(name, value, rule),
            None => mapping.unknown(name, value),
        }
    }
    mapping
        .settings
        .insert("partitioner".into(), "murmur2_random".into());
    mapping.stores();
    mapping.sasl();
    mapping.idempotence();
    mapping.settings
}

struct Mapping<'a> {
    raw: &'a Raw,
    settings: BTreeMap<String, String>,
    findings: &'a mut Findings,
}

impl Mapping<'_> {
    fn set(&mut self, name: &str, value: impl Into<String>) {
        self.settings.insert(name.to_owned(), value.into());
    }

    fn word(&mut self, value: &Value) -> String {
        without_comment(
            value,
            "hands all of it to the Kafka client, which refuses it.",
            self.findings,
        )
    }

    fn refuse(&mut self, value: &Value, message: impl Into<String>, remedy: impl Into<String>) {
        self.findings.add(
            Finding::error("kafka-producer", message)
                .at(&value.place)
                .key(&value.key)
                .flume("hands it to the Java producer.")
                .remedy(remedy),
        );
    }

    fn inert(&mut self, name: &str, value: &Value, why: &str) {
        self.findings.add(
            Finding::note("no-effect", format!("`{name}` has no effect here: {why}"))
                .at(&value.place)
                .key(&value.key)
                .remedy("The line can go."),
        );
    }

    fn unknown(&mut self, name: &str, value: &Value) {
        let remedy = match names::nearest(name, RULES.iter().map(|(known, _)| *known)) {
            Some(known) => format!("Did you mean `kafka.producer.{known}`?"),
            None => "Remove it; docs/CONFIGURATION.md lists the options.".to_owned(),
        };
        self.findings.add(
            Finding::warning(
                "unknown-key",
                format!("The Kafka producer has no option `{name}`, so it has no effect."),
            )
            .at(&value.place)
            .key(&value.key)
            .flume("hands it to the Java producer, which ignores it with a warning.")
            .remedy(remedy),
        );
    }

    fn apply(&mut self, name: &str, value: &Value, rule: &Rule) {
        match rule {
            Same => self.set(name, value.text.clone()),
            Named(new) => self.set(new, value.text.clone()),
            Number(new, min, max) => self.number(name, value, new, *min, *max),
            OneOf(choices) => {
                let text = self.word(value);
                match choices
                    .iter()
                    .find(|choice| choice.eq_ignore_ascii_case(&text))
                {
                    Some(choice) => self.set(name, *choice),
                    None => self.refuse(
                        value,
                        format!("`{text}` is not one of {}.", choices.join(", ")),
                        "Correct the value.",
                    ),
                }
            }
            Inert(why) => self.inert(name, value, why),
            Refused(why) => self.refuse(
                value,
                format!("The producer option `{name}` cannot be honoured."),
                *why,
            ),
            Elsewhere => self.special(name, value),
        }
    }

    fn number(&mut self, name: &str, value: &Value, new: &str, min: i64, max: i64) {
        let text = self.word(value);
        match text.parse::<i64>() {
            // Java's greatest value means "no limit"; librdkafka's ranges end earlier.
            Ok(number) if number > max && number >= INT => {
                self.set(new, max.to_string());
            }
            Ok(number) if (min..=max).contains(&number) => self.set(new, number.to_string()),
            Ok(number) => self.refuse(
                value,
                format!("`{number}` is out of range for `{name}`: {min} to {max}."),
                "Correct the value.",
            ),
            Err(_) => self.refuse(
                value,
                format!("`{text}` is not a whole number."),
                "Correct the value.",
            ),
        }
    }

    /// Options whose value changes on the way, apart from keys, SASL and acknowledgements.
    fn special(&mut self, name: &str, value: &Value) {
        let text = self.word(value);
        match name {
            "batch.size" if text == "0" => self.set("batch.num.messages", "1"),
            "batch.size" => self.number(name, value, "batch.size", 1, INT),
            "buffer.memory" => match text.parse::<i64>() {
                Ok(bytes) if bytes >= 1024 => self.set("queue.buffering.max.kbytes", (bytes / 1024).min(INT).to_string()),
                _ => self.refuse(value, format!("`{text}` is not a number of bytes of at least 1024."), "Correct the value."),
            },
            "receive.buffer.bytes" | "send.buffer.bytes" => match text.parse::<i64>() {
                Ok(bytes @ -1..=100_000_000) => self.set(&format!("socket.{name}"), bytes.max(0).to_string()),
                _ => self.refuse(value, format!("`{text}` is not a size: -1 to 100000000."), "Correct the value."),
            },
            "key.serializer" => self.serializer(value, &text, "StringSerializer"),
            "value.serializer" => self.serializer(value, &text, "ByteArraySerializer"),
            "partitioner.class" if text.ends_with(".DefaultPartitioner") => {}
            "partitioner.class" => self.refuse(
                value,
                format!("The partitioner `{text}` is a Java class, which cannot run here."),
                "Remove it (keys are spread by murmur2, as Java does by default), or choose partitions with partitionIdHeader.",
            ),
            "ssl.endpoint.identification.algorithm" => {
                let algorithm = if text.eq_ignore_ascii_case("https") { "https" } else { "none" };
                self.set(name, algorithm);
            }
            "ssl.disableTLSHostnameVerification" if text.eq_ignore_ascii_case("true") => {
                self.set("ssl.endpoint.identification.algorithm", "none");
            }
            "ssl.enabled.protocols" | "ssl.protocol" => {
                let modern = text.split(',').all(|version| matches!(version.trim(), "TLSv1.2" | "TLSv1.3" | "TLS"));
                if modern {
                    self.inert(name, value, "TLS 1.2 and 1.3 are offered.");
                } else {
                    self.refuse(value, format!("`{text}` asks for a TLS version that is not offered."), "Use TLSv1.2 and TLSv1.3.");
                }
            }
            // `stores`, `sasl` and `idempotence` read these.
            _ => {}
        }
    }

    fn serializer(&mut self, value: &Value, text: &str, expected: &str) {
        if text.rsplit('.').next() != Some(expected) {
            self.refuse(
                value,
                format!("The serializer `{text}` cannot run here: keys are strings and values are bytes."),
                format!("Remove it, or write org.apache.kafka.common.serialization.{expected}."),
            );
        }
    }

    /// Key store and trust store.
    fn stores(&mut self) {
        let get = |name: &str| self.raw.get(name).cloned();
        let kind = |name: &str, location: &Value| {
            let written = self
                .raw
                .get(name)
                .map(|value| value.text.to_ascii_uppercase());
            written.unwrap_or_else(|| {
                let path = location.text.to_ascii_lowercase();
                if path.ends_with(".pem") || path.ends_with(".crt") {
                    "PEM".into()
                } else if path.ends_with(".p12") || path.ends_with(".pfx") {
                    "PKCS12".into()
                } else {
                    "JKS".into()
                }
            })
        };
        if let Some(location) = get("ssl.truststore.location") {
            let kind = kind("ssl.truststore.type", &location);
            if kind == "PEM" {
                self.set("ssl.ca.location", location.text.clone());
                if let Some(password) = get("ssl.truststore.password") {
                    self.inert(
                        "ssl.truststore.password",
                        &password,
                        "a PEM trust store has no password.",
                    );
                }
            } else {
                self.refuse(
                    &location,
                    format!("A {kind} trust store can only be read by Java."),
                    format!(
                        "Make it PEM: `keytool -exportcert -rfc -keystore {} -alias <alias> -file ca.pem` for each certificate, then ssl.truststore.type = PEM and ssl.truststore.location = ca.pem.",
                        location.text
                    ),
                );
            }
        }
        if let Some(location) = get("ssl.keystore.location") {
            let kind = kind("ssl.keystore.type", &location);
            match kind.as_str() {
                "PKCS12" => {
                    self.set("ssl.keystore.location", location.text.clone());
                    if let Some(password) = get("ssl.keystore.password") {
                        self.set("ssl.keystore.password", password.text);
                    }
                }
                "PEM" => {
                    self.set("ssl.key.location", location.text.clone());
                    self.set("ssl.certificate.location", location.text);
                }
                _ => self.refuse(
                    &location,
                    format!("A {kind} key store can only be read by Java."),
                    format!(
                        "Convert it: `keytool -importkeystore -srckeystore {} -destkeystore keystore.p12 -deststoretype PKCS12`, then ssl.keystore.type = PKCS12.",
                        location.text
                    ),
                ),
            }
        }
    }

    fn sasl(&mut self) {
        let mechanism = match self.raw.get("sasl.mechanism") {
            None => None,
            Some(value) => {
                let text = self.word(value).to_ascii_uppercase();
                match text.as_str() {
                    "GSSAPI" | "PLAIN" | "SCRAM-SHA-256" | "SCRAM-SHA-512" => {
                        self.set("sasl.mechanism", text)
                    }
                    "OAUTHBEARER" => {
                        self.refuse(value, "SASL OAUTHBEARER cannot be honoured.", OAUTH)
                    }
                    _ => self.refuse(
                        value,
                        format!("`{text}` is not a SASL mechanism."),
                        "Use GSSAPI, PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512.",
                    ),
                }
                Some(value)
            }
        };
        let secured = self
            .settings
            .get("security.protocol")
            .is_some_and(|protocol| protocol.starts_with("SASL"));
        if !secured && let Some(value) = mechanism {
            self.findings.add(
                Finding::warning("kafka-producer", "`sasl.mechanism` has no effect without security.protocol = SASL_PLAINTEXT or SASL_SSL.")
                    .at(&value.place)
                    .key(&value.key)
                    .flume("connects without SASL as well.")
                    .remedy("Set kafka.producer.security.protocol."),
            );
        }
        let Some(config) = self.raw.get("sasl.jaas.config") else {
            return;
        };
        match jaas::settings(&config.text) {
            Ok(settings) => self.settings.extend(settings),
            Err(error) => self.refuse(config, format!("sasl.jaas.config cannot be read: {error}"), "Write `<login module> required username=\"…\" password=\"…\";`, or a Krb5LoginModule with keyTab and principal."),
        }
    }

    /// The idempotent producer, unless the options forbid it.
    ///
    /// | acks | retries 0 or in flight > 5 | enable.idempotence | result |
    /// |---|---|---|---|
    /// | not set, all, -1 | no | not set, true | on, acks = all |
    /// | 0, 1 | any | not set | off |
    /// | 0, 1 | any | true | refused |
    /// | not set, all, -1 | yes | not set | off, with a warning |
    /// | any | yes | true | refused |
    /// | any | any | false | off; acks not set is Flume's 1 |
    fn idempotence(&mut self) {
        let wanted = self
            .raw
            .get("enable.idempotence")
            .map(|value| (value, self.raw_flag(value)));
        let acks = self.acks();
        let number = |name: &str| {
            self.settings
                .get(name)
                .and_then(|text| text.parse::<i64>().ok())
        };
        let limited = number("retries") == Some(0)
            || number("max.in.flight.requests.per.connection").is_some_and(|n| n > 5);
        let weak = matches!(acks.as_deref(), Some("0" | "1"));
        let on = match wanted {
            Some((_, false)) => false,
            Some((value, true)) if weak || limited => {
                self.refuse(
                    value,
                    "An idempotent producer needs acks = all, retries above 0 and at most 5 requests in flight.",
                    "Remove enable.idempotence, or the option that contradicts it.",
                );
                true
            }
            Some((_, true)) => true,
            None => {
                if limited && !weak {
                    let value = self
                        .raw
                        .get("retries")
                        .filter(|v| v.text == "0")
                        .or_else(|| self.raw.get("max.in.flight.requests.per.connection"));
                    if let Some(value) = value {
                        self.findings.add(
                            Finding::warning("kafka-producer", "With this value the producer cannot be idempotent, so a retry may duplicate or reorder records.")
                                .at(&value.place)
                                .key(&value.key)
                                .flume("has no idempotent producer unless it is asked for.")
                                .remedy("Remove it: flumen's producer is idempotent by default."),
                        );
                    }
                }
                !weak && !limited
            }
        };
        let explicitly_off = matches!(wanted, Some((_, false)));
        let default = if explicitly_off { "1" } else { "all" };
        self.set("acks", acks.unwrap_or_else(|| default.to_owned()));
        self.set("enable.idempotence", if on { "true" } else { "false" });
    }

    fn raw_flag(&self, value: &Value) -> bool {
        super::comment::split(&value.text)
            .map_or(value.text.as_str(), |(before, _)| before)
            .eq_ignore_ascii_case("true")
    }

    fn acks(&mut self) -> Option<String> {
        let value = self.raw.get("acks")?;
        let text = self.word(value);
        match text.as_str() {
            "all" | "-1" => Some("all".to_owned()),
            "0" | "1" => Some(text),
            _ => {
                self.refuse(
                    value,
                    format!("`{text}` is not one of 0, 1, all, -1."),
                    "Correct the value.",
                );
                None
            }
        }
    }
}
