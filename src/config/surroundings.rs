//! What a configuration is read in: environment, system properties, home, clock, names of hosts.
//!
//! Control plane only. All that loading needs from outside the files comes through here, so that a
//! test gives it and gets the same findings on every machine.

use std::collections::BTreeMap;
use std::net::{IpAddr, ToSocketAddrs};
use std::path::PathBuf;

/// Everything outside the files that a configuration may depend on.
#[derive(Debug, Clone)]
pub struct Surroundings {
    /// Environment variables.
    pub environment: BTreeMap<String, String>,
    /// `-Dkey=value`.
    pub system: BTreeMap<String, String>,
    /// Home directory: `~` of Flume's default directories.
    pub home: PathBuf,
    /// `--conf`.
    pub conf_dir: Option<PathBuf>,
    /// Milliseconds since the epoch.
    pub now_ms: i64,
    /// Address of a host name.
    pub resolve: fn(&str) -> Option<IpAddr>,
    /// The agent is to start here. A check on another machine is milder: a host name that does not
    /// resolve there is a warning.
    pub starting: bool,
    /// `--flume-lenient`: what is broken is left out, as in Flume.
    pub lenient: bool,
}

impl Surroundings {
    /// Those of this process.
    pub fn of_process(system: BTreeMap<String, String>, conf_dir: Option<PathBuf>) -> Self {
        let environment: BTreeMap<String, String> = std::env::vars_os()
            .filter_map(|(key, value)| Some((key.into_string().ok()?, value.into_string().ok()?)))
            .collect();
        let home = environment
            .get("HOME")
            .map_or_else(|| PathBuf::from("/"), PathBuf::from);
        Self {
            environment,
            system,
            home,
            conf_dir,
            now_ms: jiff::Timestamp::now().as_millisecond(),
            resolve: resolve_by_system,
            starting: true,
            lenient: false,
        }
    }
}

fn resolve_by_system(host: &str) -> Option<IpAddr> {
    let mut addresses = (host, 0u16).to_socket_addrs().ok()?;
    addresses.next().map(|address| address.ip())
}
