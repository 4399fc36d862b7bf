//! Interceptors and channel selectors that run, with their properties. A table.

use crate::config::schema::{Component, Role, Support, boolean, text, word, words};

/// Interceptors and selectors we run.
pub(super) const ALL: &[Component] = &[
    Component {
        role: Role::Interceptor,
        alias: "timestamp",
        class: "org.apache.flume.interceptor.TimestampInterceptor$Builder",
        support: Support::Runs,
        keys: &[
            word("type", "`timestamp`.").required(),
            text(
                "headerName",
                "Header that gets the milliseconds since the epoch.",
            )
            .default("timestamp"),
            boolean(
                "preserveExisting",
                "Whether an event keeps the header it has.",
            )
            .default("false"),
        ],
    },
    Component {
        role: Role::Interceptor,
        alias: "host",
        class: "org.apache.flume.interceptor.HostInterceptor$Builder",
        support: Support::Runs,
        keys: &[
            word("type", "`host`.").required(),
            text(
                "hostHeader",
                "Header that gets this machine's address or name.",
            )
            .default("host"),
            boolean("useIP", "The address, not the canonical host name.").default("true"),
            boolean(
                "preserveExisting",
                "Whether an event keeps the header it has.",
            )
            .default("false"),
        ],
    },
    Component {
        role: Role::Interceptor,
        alias: "static",
        class: "org.apache.flume.interceptor.StaticInterceptor$Builder",
        support: Support::Runs,
        keys: &[
            word("type", "`static`.").required(),
            text("key", "Header.").default("key"),
            text("value", "Its value.").default("value"),
            boolean(
                "preserveExisting",
                "Whether an event keeps the header it has.",
            )
            .default("true"),
        ],
    },
    Component {
        role: Role::Selector,
        alias: "replicating",
        class: "org.apache.flume.channel.ReplicatingChannelSelector",
        support: Support::Runs,
        keys: &[
            word("type", "`replicating`, the default."),
            words("optional", "Channels whose errors are only logged."),
        ],
    },
];
