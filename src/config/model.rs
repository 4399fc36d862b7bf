//! What a checked configuration says, in types. Every value is in its final unit and range: whoever
//! holds an [`AgentConfig`] has nothing left to check.
//!
//! Field names follow Flume's keys; defaults are Flume's unless a field says otherwise.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

/// One agent: what `--name` chose from the files.
#[derive(Debug, Clone, PartialEq)]
pub struct AgentConfig {
    /// `--name`.
    pub name: String,
    /// Sources, in the order of `<agent>.sources`.
    pub sources: Vec<SourceConfig>,
    /// Channels, in the order of `<agent>.channels`.
    pub channels: Vec<ChannelConfig>,
    /// Sinks, in the order of `<agent>.sinks`.
    pub sinks: Vec<SinkConfig>,
}

/// One source and what its batches pass through.
#[derive(Debug, Clone, PartialEq)]
pub struct SourceConfig {
    /// Component name.
    pub name: String,
    /// What kind, with its settings.
    pub kind: SourceKind,
    /// Interceptors, in order.
    pub interceptors: Vec<InterceptorConfig>,
    /// Channels that must take a batch before it is answered OK, in the order of `channels`.
    pub required_channels: Vec<String>,
    /// Channels of `selector.optional`: their errors are only logged.
    pub optional_channels: Vec<String>,
}

/// Kinds of sources.
#[derive(Debug, Clone, PartialEq)]
pub enum SourceKind {
    /// `avro`.
    Avro(AvroSourceConfig),
}

/// `type = avro`.
#[derive(Debug, Clone, PartialEq)]
pub struct AvroSourceConfig {
    /// `bind` and `port`, resolved.
    pub address: SocketAddr,
    /// `bind` as written, for log lines.
    pub bind: String,
    /// `compression-type = deflate`. Only changes what is announced in the log: both kinds of client
    /// are told apart by their first byte.
    pub deflate: bool,
    /// `ipFilterRules`, empty when `ipFilter` is off.
    pub ip_filter: Vec<IpFilterRule>,
    /// Bounds, with the defaults of `limits`.
    pub limits: AvroSourceLimits,
}

/// One rule of `ipFilterRules`. The first that matches decides; no match allows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IpFilterRule {
    /// `allow` or `deny`.
    pub allow: bool,
    /// `ip` or `name`.
    pub by_name: bool,
    /// `.` literal, `*` any run, `?` one character; matches the whole text.
    pub pattern: String,
}

/// Bounds of one Avro source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AvroSourceLimits {
    /// `maxFrameSize` (ours), bytes.
    pub frame_bytes_max: usize,
    /// `maxBatchEvents` (ours).
    pub batch_events_max: usize,
    /// `maxEventSize` (ours), bytes.
    pub event_bytes_max: usize,
    /// `maxConnections` (ours).
    pub connections_max: usize,
    /// `maxConnectionsPerPeer` (ours).
    pub connections_per_peer_max: usize,
    /// `handshakeTimeout` (ours, ms).
    pub handshake_deadline: Duration,
    /// `progressTimeout` (ours, ms): a frame that has begun must gain bytes within it.
    pub progress_deadline: Duration,
}

/// Interceptors that need no look inside an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum InterceptorConfig {
    /// `timestamp`.
    Timestamp {
        /// `headerName`.
        header: String,
        /// `preserveExisting`.
        preserve_existing: bool,
    },
    /// `host`.
    Host {
        /// `hostHeader`.
        header: String,
        /// `useIP`.
        use_ip: bool,
        /// `preserveExisting`.
        preserve_existing: bool,
    },
    /// `static`.
    Static {
        /// `key`.
        key: String,
        /// `value`.
        value: String,
        /// `preserveExisting`.
        preserve_existing: bool,
    },
}

/// One channel.
#[derive(Debug, Clone, PartialEq)]
pub struct ChannelConfig {
    /// Component name.
    pub name: String,
    /// `capacity`, events.
    pub capacity_events: u64,
    /// `transactionCapacity`, events.
    pub transaction_capacity: usize,
    /// `keep-alive`.
    pub keep_alive: Duration,
    /// What kind, with its settings.
    pub kind: ChannelKind,
}

/// Kinds of channels.
#[derive(Debug, Clone, PartialEq)]
pub enum ChannelKind {
    /// `memory`.
    Memory {
        /// Bytes of event bodies and headers it may hold: `byteCapacity` less
        /// `byteCapacityBufferPercentage`.
        capacity_bytes: u64,
    },
    /// `file`.
    File(FileChannelConfig),
}

/// `type = file`.
#[derive(Debug, Clone, PartialEq)]
pub struct FileChannelConfig {
    /// `checkpointDir`.
    pub checkpoint_dir: PathBuf,
    /// `dataDirs`.
    pub data_dirs: Vec<PathBuf>,
    /// `checkpointInterval`: the longest a moved log end stays out of the checkpoint. Cursors are
    /// written within 100 ms of a sink's commit.
    pub checkpoint_interval: Duration,
    /// `maxFileSize`, or our default when it is not set; a multiple of `limits::ALIGN_BYTES`.
    pub segment_bytes: u64,
    /// `minimumRequiredSpace`.
    pub minimum_required_space: u64,
    /// `capacityBytes` (ours): bytes of log that may wait; the free disk decides when not set.
    pub capacity_bytes: Option<u64>,
}

/// One sink.
#[derive(Debug, Clone, PartialEq)]
pub struct SinkConfig {
    /// Component name.
    pub name: String,
    /// `channel`.
    pub channel: String,
    /// `group` (ours). Sinks without one compete in the channel's default group.
    pub group: Option<String>,
    /// What kind, with its settings.
    pub kind: SinkKind,
}

/// Kinds of sinks.
#[derive(Debug, Clone, PartialEq)]
pub enum SinkKind {
    /// `logger`.
    Logger {
        /// `maxBytesToLog`; none is unlimited (`-1`).
        bytes_max: Option<usize>,
    },
    /// `null`.
    Null {
        /// `batchSize`.
        batch_size: usize,
        /// `logEveryNEvents`.
        log_every_events: u64,
    },
    /// `file_roll`.
    FileRoll(FileRollConfig),
    /// `org.apache.flume.sink.kafka.KafkaSink`.
    Kafka(KafkaSinkConfig),
    /// `hdfs`.
    Hdfs(Box<HdfsSinkConfig>),
}

/// `type = file_roll`.
#[derive(Debug, Clone, PartialEq)]
pub struct FileRollConfig {
    /// `sink.directory`. Exists.
    pub directory: PathBuf,
    /// `sink.rollInterval`; none is never (`0`).
    pub roll_interval: Option<Duration>,
    /// `sink.serializer`.
    pub serializer: SerializerConfig,
    /// `sink.batchSize`.
    pub batch_size: usize,
    /// `sink.pathManager = ROLLTIME`.
    pub roll_time_names: bool,
    /// `sink.pathManager.prefix`.
    pub prefix: String,
    /// `sink.pathManager.extension`, without the dot; empty for none.
    pub extension: String,
}

/// `serializer` and `serializer.*`.
#[derive(Debug, Clone, PartialEq)]
pub enum SerializerConfig {
    /// `TEXT`.
    Text {
        /// `appendNewline`.
        append_newline: bool,
    },
    /// `HEADER_AND_TEXT`.
    HeaderAndText {
        /// `appendNewline`.
        append_newline: bool,
    },
    /// `AVRO_EVENT`.
    AvroEvent {
        /// `syncIntervalBytes`.
        sync_interval_bytes: usize,
        /// `compressionCodec`: null, deflate, snappy, bzip2, zstandard.
        codec: String,
    },
}

/// `type = org.apache.flume.sink.kafka.KafkaSink`.
#[derive(Debug, Clone, PartialEq)]
pub struct KafkaSinkConfig {
    /// `kafka.bootstrap.servers`.
    pub bootstrap_servers: String,
    /// `kafka.topic`, escapes and all.
    pub topic: String,
    /// `flumeBatchSize`.
    pub batch_size: usize,
    /// `useFlumeEventFormat`.
    pub flume_event_format: bool,
    /// `allowTopicOverride`.
    pub allow_topic_override: bool,
    /// `topicHeader`.
    pub topic_header: String,
    /// `defaultPartitionId`.
    pub default_partition: Option<i32>,
    /// `partitionIdHeader`.
    pub partition_header: Option<String>,
    /// `timestampHeader`.
    pub timestamp_header: Option<String>,
    /// `header.<flume> = <kafka>`.
    pub header_names: BTreeMap<String, String>,
    /// librdkafka settings, mapped from `kafka.producer.*` and checked by name and value.
    pub producer: BTreeMap<String, String>,
}

/// `type = hdfs`.
#[derive(Debug, Clone, PartialEq)]
pub struct HdfsSinkConfig {
    /// `hdfs.path`, escapes and all.
    pub path: String,
    /// `hdfs.filePrefix`, escapes and all.
    pub file_prefix: String,
    /// `hdfs.fileSuffix`.
    pub file_suffix: String,
    /// `hdfs.inUsePrefix`.
    pub in_use_prefix: String,
    /// `hdfs.inUseSuffix`, or empty with `hdfs.emptyInUseSuffix`.
    pub in_use_suffix: String,
    /// `hdfs.rollInterval`; none is never.
    pub roll_interval: Option<Duration>,
    /// `hdfs.rollSize`; none is never.
    pub roll_bytes: Option<u64>,
    /// `hdfs.rollCount`; none is never.
    pub roll_events: Option<u64>,
    /// `hdfs.idleTimeout`; none is never.
    pub idle_timeout: Option<Duration>,
    /// `hdfs.batchSize`.
    pub batch_size: usize,
    /// `hdfs.fileType`.
    pub file_type: HdfsFileType,
    /// `hdfs.codeC`. Set exactly when the file type allows or needs it.
    pub codec: Option<HdfsCodec>,
    /// `serializer`. Unused by sequence files.
    pub serializer: SerializerConfig,
    /// `hdfs.maxOpenFiles`.
    pub open_files_max: usize,
    /// `hdfs.callTimeout`; none is no limit.
    pub call_timeout: Option<Duration>,
    /// `hdfs.closeTries`; none is for ever.
    pub close_tries: Option<u32>,
    /// `hdfs.retryInterval`.
    pub retry_interval: Duration,
    /// `hdfs.round`, `roundValue`, `roundUnit`.
    pub round: Option<Rounding>,
    /// `hdfs.timeZone`; none is the system's.
    pub time_zone: Option<String>,
    /// `hdfs.useLocalTimeStamp`.
    pub use_local_timestamp: bool,
    /// `hdfs.kerberosPrincipal`, `_HOST` not yet replaced.
    pub kerberos_principal: Option<String>,
    /// `hdfs.kerberosKeytab`.
    pub kerberos_keytab: Option<PathBuf>,
    /// `hdfs.proxyUser`.
    pub proxy_user: Option<String>,
    /// Where `core-site.xml` and `hdfs-site.xml` are: `--conf`, else `HADOOP_CONF_DIR`.
    pub hadoop_conf_dir: Option<PathBuf>,
}

/// `hdfs.fileType`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HdfsFileType {
    /// `SequenceFile` with `writeFormat = Writable`.
    SequenceWritable,
    /// `SequenceFile` with `writeFormat = Text`.
    SequenceText,
    /// `DataStream`.
    DataStream,
    /// `CompressedStream`.
    CompressedStream,
}

/// `hdfs.codeC`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HdfsCodec {
    /// `gzip`.
    Gzip,
    /// `bzip2`.
    Bzip2,
    /// `snappy`, in Hadoop's block framing.
    Snappy,
    /// `zstd`.
    Zstd,
    /// `deflate` (zlib).
    Deflate,
}

/// `hdfs.round*`: time escapes are rounded down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rounding {
    /// To this many seconds, 1–60.
    Second(u32),
    /// To this many minutes, 1–60.
    Minute(u32),
    /// To this many hours, 1–24.
    Hour(u32),
}
