//! Sources that run, with their properties. A table.

use crate::config::schema::{
    Component, Key, Role, Support, boolean, choice, integer, text, word, words,
};

const TLS: &str = "TLS is not built yet. Put a TLS proxy (stunnel, HAProxy) in front of the port, or keep this hop on a trusted network.";

/// Sources we run.
pub(super) const ALL: &[Component] = &[Component {
    role: Role::Source,
    alias: "avro",
    class: "org.apache.flume.source.AvroSource",
    support: Support::Runs,
    keys: AVRO,
}];

const AVRO: &[Key] = &[
    word("type", "`avro`.").required(),
    words("channels", "Channels that get every batch.").required(),
    word("bind", "Address or host name to listen on.").required(),
    integer("port", 1, 65_535, "Port to listen on.").required(),
    integer("threads", 0, i64::MAX, "Threads of Flume's server.").default("0").inert(
        "Flume ignores it since 1.10; flumen's shards (-Dflumen.shards) serve all connections.",
    ),
    choice("compression-type", &["none", "deflate"], "What the clients send.").default("none").differs(
        "Flume refuses clients of the other kind; flumen tells each connection by its first byte and serves both.",
    ),
    boolean("ipFilter", "Whether `ipFilterRules` decide who may connect.").default("false"),
    text("ipFilterRules", "Rules `<allow|deny>:<ip|name>:<pattern>`, separated by commas; the first that matches decides, no match allows."),
    integer("maxFrameSize", 65_536, 1 << 31, "Bytes of one RPC message.").default("67108864").differs("flumen's own key; Flume has no limit."),
    integer("maxBatchEvents", 1, 100_000_000, "Events of one batch.").default("1000000").differs("flumen's own key; Flume has no limit."),
    integer("maxEventSize", 1, 33_554_432, "Bytes of one event.").default("33554432").differs("flumen's own key; Flume has no limit."),
    integer("maxConnections", 1, 1_000_000, "Connections of this source.").default("10000").differs("flumen's own key; Flume has no limit."),
    integer("maxConnectionsPerPeer", 1, 1_000_000, "Connections of this source from one address.").default("1024").differs("flumen's own key; Flume has no limit."),
    integer("handshakeTimeout", 100, 3_600_000, "Milliseconds from accept to the end of the first handshake.").default("10000").differs("flumen's own key; Flume waits for ever."),
    integer("progressTimeout", 100, 3_600_000, "Milliseconds within which a message that has begun must gain bytes.").default("30000").differs("flumen's own key; Flume waits for ever."),
    boolean("ssl", "TLS on this port.").default("false").planned(TLS),
    text("keystore", "Key store of the TLS port.").planned(TLS),
    text("keystore-password", "Its password.").planned(TLS),
    text("keystore-type", "Its type.").planned(TLS),
    text("exclude-protocols", "TLS versions not spoken.").planned(TLS),
    text("include-protocols", "TLS versions spoken.").planned(TLS),
    text("exclude-cipher-suites", "Cipher suites not spoken.").planned(TLS),
    text("include-cipher-suites", "Cipher suites spoken.").planned(TLS),
    words("interceptors", "Interceptors, in order."),
    text("interceptors.*", "Properties of the interceptors."),
    text("selector.*", "Properties of the channel selector."),
];
