//! Sinks that run, with their properties. A table.

use crate::config::schema::{Component, Key, Role, Support, boolean, choice, integer, text, word};

const INT: i64 = 2_147_483_647;
const GROUP: Key = word("group", "Consumer group: each group of a channel gets every event; sinks of one group (or of none) share them.")
    .differs("flumen's own key; Flume needs a channel for each destination.");
const CHANNEL: Key = word("channel", "The channel it drains.").required();

/// Sinks we run.
pub(super) const ALL: &[Component] = &[
    Component {
        role: Role::Sink,
        alias: "logger",
        class: "org.apache.flume.sink.LoggerSink",
        support: Support::Runs,
        keys: &[
            word("type", "`logger`.").required(),
            CHANNEL,
            GROUP,
            integer(
                "maxBytesToLog",
                -1,
                INT,
                "Bytes of a body that are logged; -1 is all.",
            )
            .default("16")
            .differs("Flume documents it but never reads it; flumen honours it."),
        ],
    },
    Component {
        role: Role::Sink,
        alias: "null",
        class: "org.apache.flume.sink.NullSink",
        support: Support::Runs,
        keys: &[
            word("type", "`null`.").required(),
            CHANNEL,
            GROUP,
            integer("batchSize", 1, INT, "Events of one transaction.").default("100"),
            integer("logEveryNEvents", 1, INT, "Events between two log lines.").default("10000"),
        ],
    },
    Component {
        role: Role::Sink,
        alias: "file_roll",
        class: "org.apache.flume.sink.RollingFileSink",
        support: Support::Runs,
        keys: FILE_ROLL,
    },
    Component {
        role: Role::Sink,
        alias: "hdfs",
        class: "org.apache.flume.sink.hdfs.HDFSEventSink",
        support: Support::Runs,
        keys: HDFS,
    },
    Component {
        role: Role::Sink,
        alias: "",
        class: "org.apache.flume.sink.kafka.KafkaSink",
        support: Support::Runs,
        keys: KAFKA,
    },
];

const FILE_ROLL: &[Key] = &[
    word("type", "`file_roll`.").required(),
    CHANNEL,
    GROUP,
    text("sink.directory", "Directory of the files; must exist.").required(),
    integer(
        "sink.rollInterval",
        0,
        INT,
        "Seconds until the next file; 0 is never.",
    )
    .default("30"),
    word(
        "sink.serializer",
        "How an event becomes bytes: TEXT, HEADER_AND_TEXT, AVRO_EVENT or their class names.",
    )
    .default("TEXT"),
    boolean(
        "sink.serializer.appendNewline",
        "Whether a line end follows each event.",
    )
    .default("true"),
    integer(
        "sink.serializer.syncIntervalBytes",
        32,
        1_073_741_824,
        "Bytes of one block of an Avro file.",
    )
    .default("2048000"),
    word(
        "sink.serializer.compressionCodec",
        "Codec of an Avro file: null, deflate, snappy, bzip2, zstandard.",
    )
    .default("null"),
    integer("sink.batchSize", 1, INT, "Events of one transaction.").default("100"),
    choice(
        "sink.pathManager",
        &["DEFAULT", "ROLLTIME"],
        "How files are named: milliseconds, or date and time.",
    )
    .default("DEFAULT"),
    text("sink.pathManager.prefix", "What file names begin with.").default(""),
    text(
        "sink.pathManager.extension",
        "What file names end with, without the dot.",
    )
    .default(""),
];

const HDFS: &[Key] = &[
    word("type", "`hdfs`.").required(),
    CHANNEL,
    GROUP,
    text("hdfs.path", "Directory, with escapes (`%Y-%m-%d`, `%{header}`, `%[IP]`).").required().differs(
        "An event without the timestamp header that a time escape needs blocks Flume's sink for ever; flumen uses the time of arrival, counts it and warns.",
    ),
    text("hdfs.filePrefix", "What file names begin with; may hold escapes.").default("FlumeData"),
    text("hdfs.fileSuffix", "What file names end with; no escapes.").default(""),
    text("hdfs.inUsePrefix", "What names of open files begin with.").default(""),
    text("hdfs.inUseSuffix", "What names of open files end with.").default(".tmp"),
    boolean("hdfs.emptyInUseSuffix", "Whether open files have no suffix at all.").default("false"),
    integer("hdfs.rollInterval", 0, INT, "Seconds until a file is closed; 0 is never.").default("30"),
    integer("hdfs.rollSize", 0, i64::MAX, "Bytes of bodies until a file is closed; 0 is never.").default("1024"),
    integer("hdfs.rollCount", 0, i64::MAX, "Events until a file is closed; 0 is never.").default("10").differs("The default makes a new file every 10 events; it is kept, with a warning when it is not set."),
    integer("hdfs.idleTimeout", 0, INT, "Seconds without events until a file is closed; 0 is never.").default("0"),
    integer("hdfs.batchSize", 1, INT, "Events of one transaction.").default("100"),
    choice("hdfs.fileType", &["SequenceFile", "DataStream", "CompressedStream"], "Kind of file.").default("SequenceFile"),
    word("hdfs.writeFormat", "Values of a sequence file: Writable or Text.").default("Writable").differs("Other file types ignore it, in Flume as in flumen."),
    word("hdfs.codeC", "Compression: gzip, bzip2, snappy, zstd, deflate, or Hadoop's class names."),
    integer("hdfs.maxOpenFiles", 1, INT, "Open files; the one used longest ago is closed first.").default("5000"),
    integer("hdfs.minBlockReplicas", 0, 512, "Replicas below which Flume closes a file.").inert("The HDFS client does not tell how many replicas an open block has, so no file is closed for it."),
    integer("hdfs.threadsPoolSize", 1, INT, "Threads of Flume's HDFS calls.").default("10").inert("flumen's HDFS client needs no threads."),
    integer("hdfs.rollTimerPoolSize", 1, INT, "Threads of Flume's roll timers.").default("1").inert("flumen's timers need no threads."),
    integer("hdfs.callTimeout", 0, INT, "Milliseconds of one HDFS call; 0 is no limit.").default("30000"),
    integer("hdfs.closeTries", 0, INT, "Tries to close a file; 0 is for ever.").default("0"),
    integer("hdfs.retryInterval", i64::MIN, INT, "Seconds between two tries; 0 or less makes closeTries 1.").default("180"),
    boolean("hdfs.round", "Whether time escapes are rounded down.").default("false"),
    integer("hdfs.roundValue", i64::MIN, i64::MAX, "To how many units: second and minute 1 to 60, hour 1 to 24.").default("1"),
    choice("hdfs.roundUnit", &["second", "minute", "hour"], "Unit of rounding.").default("second"),
    word("hdfs.timeZone", "Zone of time escapes; the system's when it is not set."),
    boolean("hdfs.useLocalTimeStamp", "Whether time escapes use the clock, not the header.").default("false"),
    text("hdfs.kerberosPrincipal", "Principal; `_HOST` becomes the host name."),
    text("hdfs.kerberosKeytab", "Its keytab."),
    text("hdfs.proxyUser", "User the files belong to."),
    boolean("hdfs.useRawLocalFileSystem", "Hadoop's local file system without checksums.").default("false").inert(
        "it only matters for file:// paths, for which flumen has the file_roll sink.",
    ),
    word("serializer", "How an event becomes bytes: TEXT, HEADER_AND_TEXT, AVRO_EVENT or their class names. Sequence files do not use it.").default("TEXT"),
    boolean("serializer.appendNewline", "Whether a line end follows each event.").default("true"),
    integer("serializer.syncIntervalBytes", 32, 1_073_741_824, "Bytes of one block of an Avro file.").default("2048000"),
    word("serializer.compressionCodec", "Codec of an Avro file: null, deflate, snappy, bzip2, zstandard.").default("null"),
];

const KAFKA: &[Key] = &[
    word("type", "`org.apache.flume.sink.kafka.KafkaSink`.").required(),
    CHANNEL,
    GROUP,
    text("kafka.bootstrap.servers", "Brokers, `host:port` separated by commas.").required(),
    text("kafka.topic", "Topic; escapes are expanded while `allowTopicOverride` is true and an event has no topic header.").default("default-flume-topic"),
    integer("flumeBatchSize", 1, INT, "Events of one transaction.").default("100"),
    boolean("useFlumeEventFormat", "Whether the value is the whole event in Avro, not the body alone.").default("false"),
    boolean("allowTopicOverride", "Whether an event's header may choose the topic.").default("true"),
    text("topicHeader", "That header.").default("topic"),
    integer("defaultPartitionId", 0, INT, "Partition of all events."),
    text("partitionIdHeader", "Header with the partition of an event."),
    text("timestampHeader", "Header with the time of an event, in milliseconds."),
    text("header.*", "`header.<Flume header> = <Kafka header>`: headers that go along."),
    text("kafka.producer.*", "Options of the Kafka producer; see the table below.").differs(
        "Flume hands them to the Java client; flumen maps each to librdkafka or refuses it by name.",
    ),
    text("topic", "").old("kafka.topic"),
    text("brokerList", "").old("kafka.bootstrap.servers"),
    integer("batchSize", 1, INT, "").old("flumeBatchSize"),
    word("requiredAcks", "").old("kafka.producer.acks"),
    text("serializer.class", "").inert("Flume only warns about it; keys are strings and values are bytes."),
    text("key.serializer.class", "").inert("Flume only warns about it; keys are strings and values are bytes."),
];
