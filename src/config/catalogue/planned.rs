//! Components of Flume that do not run here yet, or never will. A table.
//!
//! Those with properties have them checked as well, so that a misspelt key is found before the
//! component exists.

use crate::config::schema::{
    Component, Key, Role, Support, boolean, choice, integer, text, word, words,
};

const LOCAL: &str =
    "Keep a Flume agent for it and send from there with an avro sink to flumen's avro source.";
const SOCKET: &str = "Keep a Flume agent on this port and send from there with an avro sink to flumen's avro source.";
const THRIFT: &str = "Let the clients use Avro (client.type = default), or keep a Flume agent with a thrift source in front.";
const LEGACY: &str = "It serves clients of Flume 0.9 and Scribe only. Keep a Flume agent in front and send from there with an avro sink.";
const SAMPLE: &str =
    "It is a sample of Flume's. Keep a Flume agent for it and send from there with an avro sink.";
const JVM: &str = "It needs Java libraries. Keep a Flume agent for it, joined to flumen by an avro source or sink.";
const KAFKA_CHANNEL: &str =
    "Use a file channel, or keep this agent on Flume until the Kafka channel is built.";
const FILE_CHANNEL: &str =
    "Use type = file: a durable channel that is as fast as a memory channel.";
const MEMORY_CHANNEL: &str = "It is for tests of Flume. Use type = memory.";
const SELECTOR: &str = "Use the replicating selector with one channel, or keep this agent on Flume until the selector is built.";
const RPC_SINK: &str = "Keep this agent on Flume: it can send to flumen's avro source. flumen takes over the last tier (hdfs, Kafka, file_roll sinks) today.";
const OTHER_SINK: &str =
    "Deliver to Kafka or HDFS and load from there, or keep this agent on Flume.";
const GONE: &str = "Flume removed it in 1.10. Deliver to Kafka and load from there.";
const GROUPS: &str = "Keep this agent on Flume: its sink group can send to several flumen collectors. On a collector, remove the group; sinks on one channel then share its events, and sinks with different `group =` each get all of them.";
const GROUP_DEFAULT: &str = "Remove the sink group: a sink alone runs with the default processor.";
const PER_EVENT: &str =
    "Let the agents in front run this interceptor, or do its work behind Kafka or HDFS.";
const UNUSED: &str = "the failover processor does not read it: a failed sink always rests.";
const INT: i64 = 2_147_483_647;

const NONE: &[Key] = &[];

const SPOOLDIR: &[Key] = &[
    word("type", ""),
    words("channels", ""),
    text("spoolDir", ""),
    text("fileSuffix", ""),
    choice("deletePolicy", &["never", "immediate"], ""),
    boolean("fileHeader", ""),
    text("fileHeaderKey", ""),
    boolean("basenameHeader", ""),
    text("basenameHeaderKey", ""),
    text("includePattern", ""),
    text("ignorePattern", ""),
    text("trackerDir", ""),
    choice("trackingPolicy", &["rename", "tracker_dir"], ""),
    choice("consumeOrder", &["oldest", "youngest", "random"], ""),
    integer("pollDelay", 0, INT, ""),
    boolean("recursiveDirectorySearch", ""),
    integer("maxBackoff", 0, INT, ""),
    integer("batchSize", 1, INT, ""),
    word("inputCharset", ""),
    choice("decodeErrorPolicy", &["FAIL", "REPLACE", "IGNORE"], ""),
    word("deserializer", ""),
    text("deserializer.*", ""),
    integer("bufferMaxLineLength", 1, INT, ""),
    integer("bufferMaxLines", 1, INT, ""),
    words("interceptors", ""),
    text("interceptors.*", ""),
    text("selector.*", ""),
];

const TAILDIR: &[Key] = &[
    word("type", ""),
    words("channels", ""),
    words("filegroups", ""),
    text("filegroups.*", ""),
    text("positionFile", ""),
    text("headers.*", ""),
    boolean("byteOffsetHeader", ""),
    boolean("skipToEnd", ""),
    integer("idleTimeout", 0, INT, ""),
    integer("writePosInterval", 0, INT, ""),
    integer("batchSize", 1, INT, ""),
    integer("maxBatchCount", 1, i64::MAX, ""),
    integer("backoffSleepIncrement", 0, i64::MAX, ""),
    integer("maxBackoffSleep", 0, i64::MAX, ""),
    boolean("cachePatternMatching", ""),
    boolean("fileHeader", ""),
    text("fileHeaderKey", ""),
    words("interceptors", ""),
    text("interceptors.*", ""),
    text("selector.*", ""),
];

const EXEC: &[Key] = &[
    word("type", ""),
    words("channels", ""),
    text("command", ""),
    text("shell", ""),
    boolean("restart", ""),
    integer("restartThrottle", 0, i64::MAX, ""),
    boolean("logStdErr", ""),
    integer("batchSize", 1, INT, ""),
    integer("batchTimeout", 0, i64::MAX, ""),
    word("charset", ""),
    words("interceptors", ""),
    text("interceptors.*", ""),
    text("selector.*", ""),
];

const NETCAT: &[Key] = &[
    word("type", ""),
    words("channels", ""),
    word("bind", ""),
    integer("port", 0, 65_535, ""),
    integer("max-line-length", 1, INT, ""),
    boolean("ack-every-event", ""),
    word("encoding", ""),
    words("interceptors", ""),
    text("interceptors.*", ""),
    text("selector.*", ""),
];

const AVRO_SINK: &[Key] = &[
    word("type", ""),
    word("channel", ""),
    word("hostname", ""),
    integer("port", 1, 65_535, ""),
    integer("batch-size", 1, INT, ""),
    integer("connect-timeout", 0, i64::MAX, ""),
    integer("request-timeout", 0, i64::MAX, ""),
    integer("reset-connection-interval", 0, INT, ""),
    choice("compression-type", &["none", "deflate"], ""),
    integer("compression-level", 0, 9, ""),
    boolean("ssl", ""),
    boolean("trust-all-certs", ""),
    text("truststore", ""),
    text("truststore-password", ""),
    text("truststore-type", ""),
    text("exclude-protocols", ""),
    text("include-protocols", ""),
    text("exclude-cipher-suites", ""),
    text("include-cipher-suites", ""),
    integer("maxIoWorkers", 0, INT, ""),
];

const GROUP: &[Key] = &[words("sinks", ""), word("processor.type", "")];

const FAILOVER: &[Key] = &[
    words("sinks", ""),
    word("processor.type", ""),
    integer("processor.priority.*", -INT, INT, ""),
    integer("processor.maxpenalty", 0, INT, ""),
    boolean("processor.backoff", "").inert(UNUSED),
];

const LOAD_BALANCE: &[Key] = &[
    words("sinks", ""),
    word("processor.type", ""),
    word("processor.selector", ""),
    boolean("processor.backoff", ""),
    integer("processor.selector.maxTimeOut", 0, i64::MAX, ""),
];

/// Components we know and do not run.
pub(super) const ALL: &[Component] = &[
    Component {
        role: Role::Source,
        alias: "thrift",
        class: "org.apache.flume.source.ThriftSource",
        support: Support::Planned(THRIFT),
        keys: NONE,
    },
    Component {
        role: Role::Source,
        alias: "exec",
        class: "org.apache.flume.source.ExecSource",
        support: Support::Planned(LOCAL),
        keys: EXEC,
    },
    Component {
        role: Role::Source,
        alias: "spooldir",
        class: "org.apache.flume.source.SpoolDirectorySource",
        support: Support::Planned(LOCAL),
        keys: SPOOLDIR,
    },
    Component {
        role: Role::Source,
        alias: "taildir",
        class: "org.apache.flume.source.taildir.TaildirSource",
        support: Support::Planned(LOCAL),
        keys: TAILDIR,
    },
    Component {
        role: Role::Source,
        alias: "",
        class: "org.apache.flume.source.kafka.KafkaSource",
        support: Support::Planned(LOCAL),
        keys: NONE,
    },
    Component {
        role: Role::Source,
        alias: "netcat",
        class: "org.apache.flume.source.NetcatSource",
        support: Support::Planned(SOCKET),
        keys: NETCAT,
    },
    Component {
        role: Role::Source,
        alias: "netcatudp",
        class: "org.apache.flume.source.NetcatUdpSource",
        support: Support::Planned(SOCKET),
        keys: NONE,
    },
    Component {
        role: Role::Source,
        alias: "seq",
        class: "org.apache.flume.source.SequenceGeneratorSource",
        support: Support::Planned(LOCAL),
        keys: NONE,
    },
    Component {
        role: Role::Source,
        alias: "syslogtcp",
        class: "org.apache.flume.source.SyslogTcpSource",
        support: Support::Planned(SOCKET),
        keys: NONE,
    },
    Component {
        role: Role::Source,
        alias: "multiport_syslogtcp",
        class: "org.apache.flume.source.MultiportSyslogTCPSource",
        support: Support::Planned(SOCKET),
        keys: NONE,
    },
    Component {
        role: Role::Source,
        alias: "syslogudp",
        class: "org.apache.flume.source.SyslogUDPSource",
        support: Support::Planned(SOCKET),
        keys: NONE,
    },
    Component {
        role: Role::Source,
        alias: "http",
        class: "org.apache.flume.source.http.HTTPSource",
        support: Support::Planned(SOCKET),
        keys: NONE,
    },
    Component {
        role: Role::Source,
        alias: "",
        class: "org.apache.flume.source.StressSource",
        support: Support::Planned(LOCAL),
        keys: NONE,
    },
    Component {
        role: Role::Source,
        alias: "jms",
        class: "org.apache.flume.source.jms.JMSSource",
        support: Support::Never(JVM),
        keys: NONE,
    },
    Component {
        role: Role::Source,
        alias: "",
        class: "org.apache.flume.source.avroLegacy.AvroLegacySource",
        support: Support::Never(LEGACY),
        keys: NONE,
    },
    Component {
        role: Role::Source,
        alias: "",
        class: "org.apache.flume.source.thriftLegacy.ThriftLegacySource",
        support: Support::Never(LEGACY),
        keys: NONE,
    },
    Component {
        role: Role::Source,
        alias: "",
        class: "org.apache.flume.source.scribe.ScribeSource",
        support: Support::Never(LEGACY),
        keys: NONE,
    },
    Component {
        role: Role::Source,
        alias: "",
        class: "org.apache.flume.source.twitter.TwitterSource",
        support: Support::Never(SAMPLE),
        keys: NONE,
    },
    Component {
        role: Role::Channel,
        alias: "",
        class: "org.apache.flume.channel.kafka.KafkaChannel",
        support: Support::Planned(KAFKA_CHANNEL),
        keys: NONE,
    },
    Component {
        role: Role::Channel,
        alias: "jdbc",
        class: "org.apache.flume.channel.jdbc.JdbcChannel",
        support: Support::Never(FILE_CHANNEL),
        keys: NONE,
    },
    Component {
        role: Role::Channel,
        alias: "spillablememory",
        class: "org.apache.flume.channel.SpillableMemoryChannel",
        support: Support::Planned(FILE_CHANNEL),
        keys: NONE,
    },
    Component {
        role: Role::Channel,
        alias: "",
        class: "org.apache.flume.channel.PseudoTxnMemoryChannel",
        support: Support::Never(MEMORY_CHANNEL),
        keys: NONE,
    },
    Component {
        role: Role::Selector,
        alias: "multiplexing",
        class: "org.apache.flume.channel.MultiplexingChannelSelector",
        support: Support::Planned(SELECTOR),
        keys: NONE,
    },
    Component {
        role: Role::Selector,
        alias: "load_balancing",
        class: "org.apache.flume.channel.LoadBalancingChannelSelector",
        support: Support::Planned(SELECTOR),
        keys: NONE,
    },
    Component {
        role: Role::Sink,
        alias: "avro",
        class: "org.apache.flume.sink.AvroSink",
        support: Support::Planned(RPC_SINK),
        keys: AVRO_SINK,
    },
    Component {
        role: Role::Sink,
        alias: "thrift",
        class: "org.apache.flume.sink.ThriftSink",
        support: Support::Planned(RPC_SINK),
        keys: NONE,
    },
    Component {
        role: Role::Sink,
        alias: "http",
        class: "org.apache.flume.sink.http.HttpSink",
        support: Support::Planned(OTHER_SINK),
        keys: NONE,
    },
    Component {
        role: Role::Sink,
        alias: "hive",
        class: "org.apache.flume.sink.hive.HiveSink",
        support: Support::Planned(OTHER_SINK),
        keys: NONE,
    },
    Component {
        role: Role::Sink,
        alias: "hbase",
        class: "org.apache.flume.sink.hbase.HBaseSink",
        support: Support::Planned(OTHER_SINK),
        keys: NONE,
    },
    Component {
        role: Role::Sink,
        alias: "asynchbase",
        class: "org.apache.flume.sink.hbase.AsyncHBaseSink",
        support: Support::Planned(OTHER_SINK),
        keys: NONE,
    },
    Component {
        role: Role::Sink,
        alias: "hbase2",
        class: "org.apache.flume.sink.hbase2.HBase2Sink",
        support: Support::Planned(OTHER_SINK),
        keys: NONE,
    },
    Component {
        role: Role::Sink,
        alias: "morphline_solr",
        class: "org.apache.flume.sink.solr.morphline.MorphlineSolrSink",
        support: Support::Never(JVM),
        keys: NONE,
    },
    Component {
        role: Role::Sink,
        alias: "irc",
        class: "org.apache.flume.sink.irc.IRCSink",
        support: Support::Never(OTHER_SINK),
        keys: NONE,
    },
    Component {
        role: Role::Sink,
        alias: "",
        class: "org.apache.flume.sink.kudu.KuduSink",
        support: Support::Never(OTHER_SINK),
        keys: NONE,
    },
    Component {
        role: Role::Sink,
        alias: "elasticsearch",
        class: "org.apache.flume.sink.elasticsearch.ElasticSearchSink",
        support: Support::Never(GONE),
        keys: NONE,
    },
    Component {
        role: Role::Sink,
        alias: "",
        class: "org.apache.flume.sink.kite.DatasetSink",
        support: Support::Never(GONE),
        keys: NONE,
    },
    Component {
        role: Role::SinkGroup,
        alias: "default",
        class: "org.apache.flume.sink.DefaultSinkProcessor",
        support: Support::Planned(GROUP_DEFAULT),
        keys: GROUP,
    },
    Component {
        role: Role::SinkGroup,
        alias: "failover",
        class: "org.apache.flume.sink.FailoverSinkProcessor",
        support: Support::Planned(GROUPS),
        keys: FAILOVER,
    },
    Component {
        role: Role::SinkGroup,
        alias: "load_balance",
        class: "org.apache.flume.sink.LoadBalancingSinkProcessor",
        support: Support::Planned(GROUPS),
        keys: LOAD_BALANCE,
    },
    Component {
        role: Role::Interceptor,
        alias: "remove_header",
        class: "org.apache.flume.interceptor.RemoveHeaderInterceptor$Builder",
        support: Support::Planned(PER_EVENT),
        keys: NONE,
    },
    Component {
        role: Role::Interceptor,
        alias: "",
        class: "org.apache.flume.sink.solr.morphline.UUIDInterceptor$Builder",
        support: Support::Planned(PER_EVENT),
        keys: NONE,
    },
    Component {
        role: Role::Interceptor,
        alias: "",
        class: "org.apache.flume.sink.solr.morphline.MorphlineInterceptor$Builder",
        support: Support::Never(JVM),
        keys: NONE,
    },
    Component {
        role: Role::Interceptor,
        alias: "search_replace",
        class: "org.apache.flume.interceptor.SearchAndReplaceInterceptor$Builder",
        support: Support::Planned(PER_EVENT),
        keys: NONE,
    },
    Component {
        role: Role::Interceptor,
        alias: "regex_filter",
        class: "org.apache.flume.interceptor.RegexFilteringInterceptor$Builder",
        support: Support::Planned(PER_EVENT),
        keys: NONE,
    },
    Component {
        role: Role::Interceptor,
        alias: "regex_extractor",
        class: "org.apache.flume.interceptor.RegexExtractorInterceptor$Builder",
        support: Support::Planned(PER_EVENT),
        keys: NONE,
    },
];
