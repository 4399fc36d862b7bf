//! Channels that run, with their properties. A table.

use crate::config::schema::{Component, Key, Role, Support, boolean, integer, text, word};

const ENCRYPTION: &str = "Encryption of the file channel is not built yet. Put the directories on an encrypted file system (LUKS) and remove the encryption keys.";

/// Channels we run.
pub(super) const ALL: &[Component] = &[
    Component {
        role: Role::Channel,
        alias: "memory",
        class: "org.apache.flume.channel.MemoryChannel",
        support: Support::Runs,
        keys: &[
            word("type", "`memory`.").required(),
            integer("capacity", 1, 2_147_483_647, "Events it holds.").default("100"),
            integer(
                "transactionCapacity",
                1,
                2_147_483_647,
                "Events of one transaction; at most `capacity`.",
            )
            .default("100"),
            integer(
                "keep-alive",
                0,
                2_147_483_647,
                "Seconds a batch waits for room before it fails.",
            )
            .default("3"),
            integer(
                "byteCapacity",
                0,
                i64::MAX,
                "Bytes of event bodies it holds; 0 is practically unlimited.",
            )
            .default("429496729")
            .differs("Flume's default is 80 % of the JVM's heap; flumen's is 80 % of 512 MiB."),
            integer(
                "byteCapacityBufferPercentage",
                0,
                99,
                "Per cent taken off `byteCapacity` for headers.",
            )
            .default("20"),
        ],
    },
    Component {
        role: Role::Channel,
        alias: "file",
        class: "org.apache.flume.channel.file.FileChannel",
        support: Support::Runs,
        keys: FILE,
    },
];

const FILE: &[Key] = &[
    word("type", "`file`.").required(),
    text("checkpointDir", "Directory of the checkpoint; best on a disk of its own.").default("~/.flume/file-channel/checkpoint").differs(
        "When several channels leave it out, Flume's channels lock each other out; flumen gives each `~/.flume/file-channel/<channel>/checkpoint`.",
    ),
    text("dataDirs", "Directories of the log, separated by commas; best on different disks.").default("~/.flume/file-channel/data").differs(
        "When several channels leave it out, flumen gives each `~/.flume/file-channel/<channel>/data`.",
    ),
    integer("capacity", 1, 2_147_483_647, "Events it holds.").default("1000000"),
    integer("transactionCapacity", 1, 2_147_483_647, "Events of one transaction; at most `capacity`.").default("10000"),
    integer("keep-alive", 0, 2_147_483_647, "Seconds a batch waits for room before it fails.").default("3"),
    integer("checkpointInterval", 1, i64::MAX, "Milliseconds between checkpoints, at least 1000.").default("30000").differs(
        "flumen also writes a sink's progress within 100 ms of its commit.",
    ),
    integer("maxFileSize", 1, i64::MAX, "Bytes of one log file.").default("134217728").differs(
        "Flume's default is 1623195647, which is also the greatest value; flumen writes its segments in advance and takes 128 MiB, at least 4 MiB, in steps of 4 KiB.",
    ),
    integer("minimumRequiredSpace", 0, i64::MAX, "Bytes that stay free on each disk, at least 1048576.").default("524288000"),
    integer("capacityBytes", 4_194_304, i64::MAX, "Bytes of log that may wait; the free disk decides when it is not set.").differs("flumen's own key."),
    boolean("useDualCheckpoints", "A second checkpoint in `backupCheckpointDir`.").default("false").inert(
        "flumen always keeps two checkpoint generations, each with a checksum, and can rebuild both from the log.",
    ),
    text("backupCheckpointDir", "Directory of the second checkpoint.").inert(
        "flumen keeps both checkpoint generations in checkpointDir and can rebuild them from the log.",
    ),
    boolean("compressBackupCheckpoint", "Whether the second checkpoint is compressed.").default("false").inert(
        "flumen's checkpoint is a few kilobytes.",
    ),
    boolean("use-log-replay-v1", "Flume's old replay.").default("false").inert("flumen has one way to recover, bounded by the checkpoint."),
    boolean("use-fast-replay", "Replay without a queue.").default("false").inert("flumen's recovery needs no memory per event; there is nothing to switch."),
    boolean("fsyncPerTransaction", "Whether each transaction is flushed before it is acknowledged.").default("true").inert(
        "flumen never acknowledges before the flush; group commit shares one flush between all batches that wait.",
    ),
    integer("fsyncInterval", 0, i64::MAX, "Seconds between flushes without `fsyncPerTransaction`.").default("5").inert("flumen flushes every group commit."),
    boolean("checkpointOnClose", "Whether a checkpoint is written at stop.").default("true").inert("flumen always writes one at an orderly stop."),
    integer("write-timeout", 0, i64::MAX, "An old limit.").inert("Flume ignores it as well."),
    integer("checkpoint-timeout", 0, i64::MAX, "An old limit.").inert("Flume ignores it as well."),
    text("encryption.*", "Encryption of the log.").planned(ENCRYPTION),
];
