//! The producer's settings: what the configuration says, and our defaults for what it leaves open.
//!
//! Pure. `config/` has mapped `kafka.producer.*` to librdkafka's names; a setting of the operator is
//! never overruled here.
//!
//! | acks    | retries | in flight | producer                                          |
//! |---------|---------|-----------|---------------------------------------------------|
//! | open    | open    | up to 5   | idempotent: order and no duplicates while it lives |
//! | all     | open    | up to 5   | idempotent                                        |
//! | 0, 1, n | any     | open      | one request in flight: order kept across retries  |
//! | any     | 0       | any       | as set: a failed request is the sink's to repeat  |

use std::collections::BTreeMap;

use rdkafka::ClientConfig;

use crate::config::KafkaSinkConfig;

/// Bytes of records that librdkafka may hold for one sink.
pub(super) const QUEUE_BYTES_MAX: usize = 64 * 1024 * 1024;
/// What a record costs librdkafka besides its bytes.
pub(super) const RECORD_OVERHEAD_BYTES: usize = 256;
/// Java's `max.request.size`.
const MESSAGE_BYTES_MAX: &str = "1048576";

/// Setting, its older names, our default.
const DEFAULTS: [(&[&str], &str); 10] = [
    (&["linger.ms", "queue.buffering.max.ms"], "5"),
    // Java's `delivery.timeout.ms`.
    (&["delivery.timeout.ms", "message.timeout.ms"], "120000"),
    (&["message.max.bytes"], MESSAGE_BYTES_MAX),
    // Java's: keyed records keep their partition when a site moves from Flume.
    (&["partitioner"], "murmur2_random"),
    (&["socket.keepalive.enable"], "true"),
    // Brokers close idle connections every ten minutes: that is no news.
    (&["log.connection.close"], "false"),
    // Java's: a broker that is back is found within a second.
    (&["reconnect.backoff.max.ms"], "1000"),
    (&["queue.buffering.max.kbytes"], "65536"),
    (&["queue.buffering.max.messages"], "262144"),
    (&["client.id"], "flumen"),
];

const _: () = assert!(QUEUE_BYTES_MAX == 65_536 * 1024);
const _: () = assert!(QUEUE_BYTES_MAX / RECORD_OVERHEAD_BYTES == 262_144);

/// Settings of the producer of one sink.
pub(super) fn client_config(config: &KafkaSinkConfig) -> ClientConfig {
    let set = &config.producer;
    let mut client = ClientConfig::new();
    client.set("bootstrap.servers", &config.bootstrap_servers);
    for (names, value) in DEFAULTS {
        if find(set, names).is_none() {
            client.set(names[0], value);
        }
    }
    for (name, value) in order_settings(set) {
        client.set(name, value);
    }
    for (name, value) in set {
        client.set(name, value);
    }
    client
}

/// What keeps records of a partition in order while requests are retried.
fn order_settings(set: &BTreeMap<String, String>) -> Vec<(&'static str, &'static str)> {
    const IN_FLIGHT: [&str; 2] = ["max.in.flight.requests.per.connection", "max.in.flight"];
    let acks = find(set, &["acks", "request.required.acks"]);
    let retries = find(set, &["retries", "message.send.max.retries"]);
    let in_flight = find(set, &IN_FLIGHT);
    if find(set, &["enable.idempotence"]).is_some_and(|value| value == "true") {
        return Vec::new();
    }
    let acks_allow = acks.is_none_or(|acks| acks == "all" || acks == "-1");
    let retries_allow = retries != Some("0");
    let in_flight_allows = in_flight.is_none_or(|count| count.parse().is_ok_and(|n: u32| n <= 5));
    let unset = find(set, &["enable.idempotence"]).is_none();
    if unset && acks_allow && retries_allow && in_flight_allows {
        return vec![("enable.idempotence", "true")];
    }
    if retries_allow && in_flight.is_none() {
        return vec![(IN_FLIGHT[0], "1")];
    }
    Vec::new()
}

fn find<'a>(set: &'a BTreeMap<String, String>, names: &[&str]) -> Option<&'a str> {
    names
        .iter()
        .find_map(|name| set.get(*name).map(String::as_str))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(set: &[(&str, &str)], expected: &[(&str, &str)]) {
        let set = set
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        assert_eq!(order_settings(&set), expected);
    }

    #[test]
    fn idempotence_is_on_unless_the_settings_forbid_it() {
        let on = &[("enable.idempotence", "true")];
        let single = &[("max.in.flight.requests.per.connection", "1")];
        check(&[], on);
        check(&[("acks", "all")], on);
        check(&[("request.required.acks", "-1")], on);
        check(&[("max.in.flight", "3")], on);
        check(&[("acks", "1")], single);
        check(&[("acks", "0")], single);
        check(&[("enable.idempotence", "false")], single);
        check(&[("acks", "1"), ("max.in.flight", "7")], &[]);
        check(&[("retries", "0")], &[]);
        check(&[("enable.idempotence", "true")], &[]);
    }
}
