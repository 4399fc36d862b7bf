//! Do real sockets, disks, HDFS and Kafka agree? flumen between real Flume agents and real clusters.
//!
//! `FLUMEN_TESTS_SUBJECT=flume` puts a real Flume in flumen's place, to prove the tests.

#[path = "../support/mod.rs"]
mod support;

mod agent_chain;
mod examples;
mod harness;
mod hdfs_failover;
mod missing_disk;
mod on_the_way;
mod operator;
mod outage;
mod same_hdfs;
mod same_kafka;
mod seeds;
mod wal_export;
mod wal_inspect;
mod wal_online;
mod wal_site;
mod wal_verify;
