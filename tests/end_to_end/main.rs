//! Do real sockets, disks, HDFS and Kafka agree? flumen between real Flume agents and real clusters.

#[path = "../support/mod.rs"]
mod support;

mod harness;
