//! System properties, `-Dkey=value`: which have an effect, and what the others are for.
//!
//! Control plane only.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use super::diagnostic::{Finding, Findings};
use super::names;

const KNOWN: [&str; 13] = [
    "flume.monitoring.type",
    "flume.monitoring.port",
    "flume.root.logger",
    "flume.log.dir",
    "flume.log.file",
    "flumen.shards",
    "flumen.drainThreads",
    "flumen.pin",
    "flumen.reactor",
    "flumen.admin.address",
    "propertiesImplementation",
    "org.apache.flume.log.printconfig",
    "org.apache.flume.log.rawdata",
];

/// Checks all system properties.
pub(super) fn check(properties: &BTreeMap<String, String>, findings: &mut Findings) {
    for (key, value) in properties {
        let found = one(key, value);
        findings.extend_with(found.map(|finding| finding.key(format!("-D{key}"))));
    }
}

fn one(key: &str, value: &str) -> Option<Finding> {
    match key {
        "flume.monitoring.type" => match value.to_ascii_lowercase().as_str() {
            "http" | "org.apache.flume.instrumentation.http.httpmetricsserver" => None,
            "ganglia" => Some(
                Finding::error("not-yet", "Monitoring by Ganglia is not built yet.")
                    .flume("sends its counters to Ganglia.")
                    .remedy("Use -Dflume.monitoring.type=http, or scrape /metrics of the admin address with Prometheus."),
            ),
            _ => Some(
                Finding::error("not-supported", format!("`{value}` is a Java class, which cannot run here."))
                    .flume("runs it.")
                    .remedy("Use -Dflume.monitoring.type=http, or scrape /metrics of the admin address with Prometheus."),
            ),
        },
        "flume.monitoring.port" => bad_unless(value.parse::<u16>().is_ok_and(|port| port > 0), value, "a port, 1 to 65535"),
        "flumen.shards" | "flumen.drainThreads" => bad_unless(value.parse::<u16>().is_ok_and(|count| count > 0), value, "a number of threads, from 1"),
        "flumen.pin" => bad_unless(["true", "false"].contains(&value.trim().to_lowercase().as_str()), value, "true or false"),
        "flumen.reactor" => bad_unless(["ring", "glommio"].contains(&value.trim()), value, "ring or glommio"),
        "flumen.admin.address" => bad_unless(value.parse::<SocketAddr>().is_ok(), value, "an address as 127.0.0.1:41490"),
        "flume.root.logger" => {
            let level = value.split(',').next().unwrap_or_default().trim().to_ascii_uppercase();
            let known = ["OFF", "FATAL", "ERROR", "WARN", "INFO", "DEBUG", "TRACE", "ALL"].contains(&level.as_str());
            bad_unless(known, value, "a level and an appender as INFO,console")
        }
        "propertiesImplementation" if value != "org.apache.flume.node.EnvVarResolverProperties" => Some(
            Finding::error("not-supported", format!("`{value}` is a Java class, which cannot run here."))
                .flume("reads the file with it.")
                .remedy("Use org.apache.flume.node.EnvVarResolverProperties, or `${env:NAME}` in the file."),
        ),
        "lookups" => Some(
            Finding::error("not-yet", "A file of lookups is not built yet.")
                .flume("resolves references with the classes it names.")
                .remedy("Use `${env:NAME}` and `${sys:name}`."),
        ),
        known if KNOWN.contains(&known) => None,
        other if other.starts_with("flume.") || other.starts_with("flumen.") => Some(
            Finding::warning("unknown-key", "There is no such system property, so it has no effect but for `${sys:…}`.")
                .flume("ignores it without a word.")
                .remedy(names::nearest(other, KNOWN).map_or_else(|| "Remove it.".to_owned(), |near| format!("Did you mean -D{near}?"))),
        ),
        other if ["java.", "javax.", "com.sun.", "sun.", "log4j", "user."].iter().any(|prefix| other.starts_with(prefix)) => {
            Some(Finding::note("no-effect", "It configures the JVM, and there is none.").flume("hands it to the JVM.").remedy("It can go."))
        }
        _ => Some(Finding::note("no-effect", "It has no effect but for `${sys:…}` in the configuration.")),
    }
}

fn bad_unless(good: bool, value: &str, expected: &str) -> Option<Finding> {
    (!good).then(|| {
        Finding::error("bad-value", format!("`{value}` is not {expected}."))
            .flume("ignores it, or fails to start its server.")
            .remedy("Correct the value.")
    })
}
