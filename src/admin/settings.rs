//! Where the admin servers listen, from the system properties.

use std::net::SocketAddr;

/// `flume.monitoring.port` when it is not given.
const FLUME_PORT_DEFAULT: u16 = 41_414;
/// `flumen.admin.address` when it is not given: this machine only.
const ADDRESS_DEFAULT: &str = "127.0.0.1:41490";

/// Where the admin servers listen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AdminSettings {
    /// `flumen.admin.address`: Prometheus and health.
    pub address: SocketAddr,
    /// `flume.monitoring.port`, when `flume.monitoring.type` is `http`: Flume's JSON.
    pub flume_port: Option<u16>,
}

/// A system property that cannot be meant.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum AdminSettingsError {
    /// Not an address.
    #[error(
        "-Dflumen.admin.address={value}: not an IP address with a port, such as 127.0.0.1:41490"
    )]
    Address {
        /// As given.
        value: String,
    },
    /// Not a port.
    #[error("-Dflume.monitoring.port={value}: not a port (0 to 65535)")]
    Port {
        /// As given.
        value: String,
    },
    /// A kind of monitoring that we do not have.
    #[error(
        "-Dflume.monitoring.type={value} is not supported: use http (Flume's JSON), or read \
         Prometheus metrics at the admin address"
    )]
    Type {
        /// As given.
        value: String,
    },
}

impl AdminSettings {
    /// Reads the settings; `property` looks up a system property.
    ///
    /// # Errors
    /// [`AdminSettingsError`].
    pub fn from_properties<'a>(
        property: impl Fn(&str) -> Option<&'a str>,
    ) -> Result<Self, AdminSettingsError> {
        let address = property("flumen.admin.address").unwrap_or(ADDRESS_DEFAULT);
        let address = address
            .trim()
            .parse()
            .map_err(|_| AdminSettingsError::Address {
                value: address.to_owned(),
            })?;
        let flume_port = match property("flume.monitoring.type").map(str::trim) {
            None | Some("") => None,
            Some(kind) if kind.eq_ignore_ascii_case("http") => Some(flume_port(&property)?),
            Some(kind) => {
                return Err(AdminSettingsError::Type {
                    value: kind.to_owned(),
                });
            }
        };
        Ok(Self {
            address,
            flume_port,
        })
    }
}

fn flume_port<'a>(property: &impl Fn(&str) -> Option<&'a str>) -> Result<u16, AdminSettingsError> {
    let Some(port) = property("flume.monitoring.port") else {
        return Ok(FLUME_PORT_DEFAULT);
    };
    port.trim().parse().map_err(|_| AdminSettingsError::Port {
        value: port.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(properties: &[(&str, &'static str)]) -> Result<AdminSettings, AdminSettingsError> {
        AdminSettings::from_properties(|key| {
            let found = properties.iter().find(|(name, _)| *name == key);
            found.map(|(_, value)| *value)
        })
    }

    #[test]
    fn flume_port_is_served_only_when_asked_for() {
        let none = read(&[("flume.monitoring.port", "36001")]).unwrap();
        assert_eq!(none.flume_port, None);
        assert_eq!(none.address.to_string(), "127.0.0.1:41490");
        let default = read(&[("flume.monitoring.type", "HTTP")]).unwrap();
        assert_eq!(default.flume_port, Some(41_414));
        let named = read(&[
            ("flume.monitoring.type", "http"),
            ("flume.monitoring.port", "36001"),
        ]);
        assert_eq!(named.unwrap().flume_port, Some(36_001));
    }

    #[test]
    fn setting_that_cannot_work_is_refused_by_name() {
        let port = read(&[
            ("flume.monitoring.type", "http"),
            ("flume.monitoring.port", "99999"),
        ]);
        assert!(port.unwrap_err().to_string().contains("99999"));
        let kind = read(&[("flume.monitoring.type", "ganglia")]);
        assert!(kind.unwrap_err().to_string().contains("ganglia"));
        let address = read(&[("flumen.admin.address", "localhost")]);
        assert!(address.unwrap_err().to_string().contains("localhost"));
    }
}
