//! What a topic holds, read back with librdkafka.

use std::collections::BTreeMap;
use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::Message;
use rdkafka::{ClientConfig, Offset, TopicPartitionList};

/// The number at the start of each record's body, by partition, in order of offset.
pub fn numbers(bootstrap: &str, topic: &str) -> BTreeMap<i32, Vec<u64>> {
    let mut all: BTreeMap<i32, Vec<u64>> = BTreeMap::new();
    read(bootstrap, topic, |partition, value| {
        let digits = std::str::from_utf8(&value[..10]).expect("ten digits");
        let number = digits.parse().expect("ten digits");
        all.entry(partition).or_default().push(number);
    });
    all
}

/// Calls `see` with the partition and the value of each record.
pub fn read(bootstrap: &str, topic: &str, mut see: impl FnMut(i32, &[u8])) {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", bootstrap)
        .set("group.id", "kafka-live")
        .set("enable.auto.commit", "false")
        .create()
        .expect("plain settings");
    let limit = Duration::from_secs(20);
    let metadata = consumer
        .fetch_metadata(Some(topic), limit)
        .expect("the broker answers");
    let mut ends = BTreeMap::new();
    let mut assignment = TopicPartitionList::new();
    for partition in metadata.topics()[0].partitions() {
        let (_, end) = consumer
            .fetch_watermarks(topic, partition.id(), limit)
            .expect("the broker answers");
        if end > 0 {
            ends.insert(partition.id(), end);
            assignment
                .add_partition_offset(topic, partition.id(), Offset::Beginning)
                .expect("a partition of the topic");
        }
    }
    consumer.assign(&assignment).expect("partitions exist");
    while !ends.is_empty() {
        let record = consumer.poll(limit).expect("records up to the end");
        let record = record.expect("the broker answers");
        see(record.partition(), record.payload().expect("a value"));
        if ends.get(&record.partition()) == Some(&(record.offset() + 1)) {
            ends.remove(&record.partition());
        }
    }
}

/// Asserts that every number below `total` is there, and that in each partition the last repetition
/// of each stands in order. Returns how many repetitions there were.
#[track_caller]
pub fn assert_complete_and_in_order(numbers: &BTreeMap<i32, Vec<u64>>, total: u64) -> u64 {
    let mut seen = vec![0u64; usize::try_from(total).expect("few")];
    for (partition, numbers) in numbers {
        let mut above = u64::MAX;
        let mut done = std::collections::BTreeSet::new();
        for number in numbers.iter().rev() {
            seen[usize::try_from(*number).expect("few")] += 1;
            if done.insert(*number) {
                assert!(
                    *number < above,
                    "partition {partition}: {number} stands before {above}"
                );
                above = *number;
            }
        }
    }
    let missing = seen.iter().filter(|count| **count == 0).count();
    assert_eq!(missing, 0, "events are missing");
    seen.iter().sum::<u64>() - total
}
