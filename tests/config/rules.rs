//! Values that come out of a configuration, checked one by one.

use std::sync::Arc;

use flumen::config::files::Files;
use flumen::config::{ChannelKind, KafkaSinkConfig, Loaded, SinkKind, load};

use crate::golden::surroundings;

fn load_text(text: &str) -> Loaded {
    let mut files = Files::default();
    files.add(text.as_bytes(), &Arc::from("t.conf"), 0);
    load(&files, "a", &surroundings())
}

const BASE: &str = "a.sources = r\na.channels = c\na.sinks = k\na.sources.r.type = avro\na.sources.r.bind = 0.0.0.0\n\
    a.sources.r.port = 4141\na.sources.r.channels = c\na.sinks.k.channel = c\n";

fn kafka(lines: &str) -> KafkaSinkConfig {
    let text = format!(
        "{BASE}a.channels.c.type = memory\na.sinks.k.type = org.apache.flume.sink.kafka.KafkaSink\na.sinks.k.kafka.bootstrap.servers = h:9092\n{lines}"
    );
    let loaded = load_text(&text);
    let agent = loaded
        .agent
        .unwrap_or_else(|| panic!("{}", loaded.findings.render()));
    let SinkKind::Kafka(config) = agent.sinks[0].kind.clone() else {
        panic!("{:?}", agent.sinks[0].kind);
    };
    config
}

fn producer(lines: &str, name: &str) -> Option<String> {
    kafka(lines).producer.get(name).cloned()
}

#[test]
fn the_producer_is_idempotent_unless_acks_forbids_it() {
    let set = |text: &str| {
        (
            producer(text, "enable.idempotence").unwrap(),
            producer(text, "acks").unwrap(),
        )
    };
    let pair = |a: &str, b: &str| (a.to_owned(), b.to_owned());
    assert_eq!(set(""), pair("true", "all"));
    assert_eq!(
        set("a.sinks.k.kafka.producer.acks = -1"),
        pair("true", "all")
    );
    assert_eq!(set("a.sinks.k.kafka.producer.acks = 1"), pair("false", "1"));
    assert_eq!(set("a.sinks.k.requiredAcks = 0"), pair("false", "0"));
    assert_eq!(
        set("a.sinks.k.kafka.producer.enable.idempotence = false"),
        pair("false", "1")
    );
}

#[test]
fn producer_options_get_librdkafkas_names() {
    let option =
        |line: &str, name: &str| producer(&format!("a.sinks.k.kafka.producer.{line}"), name);
    assert_eq!(
        option("max.request.size = 2000000", "message.max.bytes").unwrap(),
        "2000000"
    );
    assert_eq!(
        option("buffer.memory = 33554432", "queue.buffering.max.kbytes").unwrap(),
        "32768"
    );
    assert_eq!(
        option("compression.type = zstd", "compression.type").unwrap(),
        "zstd"
    );
    assert_eq!(option("linger.ms = 5  # ms", "linger.ms").unwrap(), "5");
    assert_eq!(option("batch.size = 0", "batch.num.messages").unwrap(), "1");
    assert_eq!(producer("", "partitioner").unwrap(), "murmur2_random");
}

/// librdkafka itself takes every setting we map to.
#[test]
fn librdkafka_knows_every_setting() {
    let lines = "client.id = x|compression.type = lz4|connections.max.idle.ms = 1|delivery.timeout.ms = 10|linger.ms = 2|\
        max.in.flight.requests.per.connection = 3|max.request.size = 4000|metadata.max.age.ms = 5|receive.buffer.bytes = -1|\
        send.buffer.bytes = 6|reconnect.backoff.max.ms = 7|reconnect.backoff.ms = 8|request.timeout.ms = 9|retries = 10|\
        retry.backoff.ms = 11|batch.size = 12|buffer.memory = 4096|socket.connection.setup.timeout.ms = 2000|\
        client.dns.lookup = use_all_dns_ips|security.protocol = SASL_SSL|sasl.mechanism = SCRAM-SHA-512|\
        sasl.kerberos.service.name = kafka|sasl.kerberos.min.time.before.relogin = 1|ssl.disableTLSHostnameVerification = true|\
        sasl.jaas.config = org.apache.kafka.common.security.scram.ScramLoginModule required username=\"u\" password=\"p\";";
    let text: String = lines
        .split('|')
        .map(|line| format!("a.sinks.k.kafka.producer.{line}\n"))
        .collect();
    let config = kafka(&text);
    let mut client = rdkafka::ClientConfig::new();
    for (name, value) in &config.producer {
        client.set(name, value);
    }
    if let Err(error) = client.create_native_config() {
        panic!("{error}");
    }
}

#[test]
fn sizes_of_channels_are_flumes() {
    let loaded = load_text(&format!(
        "{BASE}a.channels.c.type = memory\na.sinks.k.type = logger\n"
    ));
    let channel = &loaded.agent.unwrap().channels[0];
    assert_eq!(
        (
            channel.capacity_events,
            channel.transaction_capacity,
            channel.keep_alive.as_secs()
        ),
        (100, 100, 3)
    );
    assert_eq!(
        channel.kind,
        ChannelKind::Memory {
            capacity_bytes: 343_597_383
        }
    );
    let loaded = load_text(&format!(
        "{BASE}a.channels.c.type = FILE\na.sinks.k.type = logger\n"
    ));
    let channel = &loaded.agent.unwrap().channels[0];
    assert_eq!(
        (channel.capacity_events, channel.transaction_capacity),
        (1_000_000, 10_000)
    );
    let ChannelKind::File(config) = &channel.kind else {
        panic!()
    };
    assert_eq!(
        config.checkpoint_dir.to_str(),
        Some("/home/flume/.flume/file-channel/checkpoint")
    );
    assert_eq!(config.segment_bytes, 128 * 1024 * 1024);
}

#[test]
fn two_file_channels_without_directories_get_their_own() {
    let loaded = load_text(&format!(
        "{BASE}a.sinks.k.type = logger\na.channels = c d\na.channels.c.type = file\na.channels.d.type = file\na.sources.r.channels = c d\n"
    ));
    let agent = loaded.agent.unwrap();
    let ChannelKind::File(config) = &agent.channels[1].kind else {
        panic!()
    };
    assert_eq!(
        config.data_dirs[0].to_str(),
        Some("/home/flume/.flume/file-channel/d/data")
    );
}
