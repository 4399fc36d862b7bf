//! The interceptors of one source, in order. One chain per shard; its overlay is rebuilt only when
//! the millisecond changes and a `timestamp` asks for it.

use std::net::{IpAddr, ToSocketAddrs};
use std::rc::Rc;

use crate::config::InterceptorConfig;
use crate::event::{Overlay, OverlayHeader};

/// See the module.
#[derive(Debug, Clone)]
pub struct Chain {
    steps: Vec<Step>,
    overlay: Rc<Overlay>,
    built_for_ms: Option<u64>,
    has_timestamp: bool,
}

#[derive(Debug, Clone)]
enum Step {
    Timestamp { header: String, preserve: bool },
    Constant(OverlayHeader),
}

impl Chain {
    /// Looks up the host's name and address where an interceptor needs them; may wait for the DNS,
    /// so it runs at start.
    #[must_use]
    pub fn new(configs: &[InterceptorConfig]) -> Self {
        let steps: Vec<Step> = configs.iter().filter_map(step).collect();
        let has_timestamp = steps
            .iter()
            .any(|step| matches!(step, Step::Timestamp { .. }));
        Self {
            steps,
            overlay: Rc::default(),
            built_for_ms: None,
            has_timestamp,
        }
    }

    /// What a batch that arrived at `arrival_ms` gains; shared by all batches of that millisecond.
    pub fn overlay(&mut self, arrival_ms: u64) -> Rc<Overlay> {
        let stale = match self.built_for_ms {
            None => true,
            Some(built_for_ms) => self.has_timestamp && built_for_ms != arrival_ms,
        };
        if stale {
            let mut overlay = Overlay::default();
            for step in &self.steps {
                overlay.push(match step {
                    Step::Constant(header) => header.clone(),
                    Step::Timestamp { header, preserve } => OverlayHeader {
                        key: header.clone().into_bytes(),
                        value: arrival_ms.to_string().into_bytes(),
                        preserve_existing: *preserve,
                    },
                });
            }
            self.overlay = Rc::new(overlay);
            self.built_for_ms = Some(arrival_ms);
        }
        Rc::clone(&self.overlay)
    }
}

fn step(config: &InterceptorConfig) -> Option<Step> {
    let constant = |key: &str, value: String, preserve_existing: bool| {
        Step::Constant(OverlayHeader {
            key: key.as_bytes().to_vec(),
            value: value.into_bytes(),
            preserve_existing,
        })
    };
    Some(match config {
        InterceptorConfig::Timestamp {
            header,
            preserve_existing,
        } => Step::Timestamp {
            header: header.clone(),
            preserve: *preserve_existing,
        },
        InterceptorConfig::Static {
            key,
            value,
            preserve_existing,
        } => constant(key, value.clone(), *preserve_existing),
        InterceptorConfig::Host {
            header,
            use_ip,
            preserve_existing,
        } => {
            let Some(host) = host(*use_ip) else {
                // As Flume: without an address the interceptor adds nothing.
                tracing::warn!("Could not get local host address. Exception follows.");
                return None;
            };
            constant(header, host, *preserve_existing)
        }
    })
}

fn host(use_ip: bool) -> Option<String> {
    let name = rustix::system::uname().nodename().to_str().ok()?.to_owned();
    if !use_ip {
        return Some(name);
    }
    let addresses: Vec<IpAddr> = (name.as_str(), 0)
        .to_socket_addrs()
        .ok()?
        .map(|address| address.ip())
        .collect();
    let first = addresses.iter().find(|address| address.is_ipv4());
    Some(first.or(addresses.first())?.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn additions_keep_their_order_and_the_timestamp_follows_the_clock() {
        let mut chain = Chain::new(&[
            InterceptorConfig::Static {
                key: "dc".to_owned(),
                value: "ams".to_owned(),
                preserve_existing: true,
            },
            InterceptorConfig::Timestamp {
                header: "timestamp".to_owned(),
                preserve_existing: false,
            },
        ]);
        for now in [17u64, 17, 18] {
            let overlay = chain.overlay(now);
            let headers = overlay.headers();
            assert_eq!(headers[0].key, b"dc");
            assert!(headers[0].preserve_existing);
            assert_eq!(headers[1].value, now.to_string().into_bytes());
            assert_eq!(headers.len(), 2);
        }
    }

    #[test]
    fn no_interceptors_add_nothing() {
        assert!(Chain::new(&[]).overlay(5).is_empty());
    }
}
