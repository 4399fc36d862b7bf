//! `ipFilterRules`: the first rule that matches decides, no match allows.
//!
//! Built once per source at start, read by every shard. Flume's `name` rules look every client up in
//! the DNS and wait for it; we do not stop a core for that: `name:localhost` is this machine, any
//! other name without a wildcard is resolved once, at start, and a pattern of names is refused.

use std::net::{IpAddr, ToSocketAddrs, UdpSocket};

use crate::config::IpFilterRule;

/// A rule that cannot be kept.
#[derive(Debug, thiserror::Error)]
pub enum IpFilterError {
    /// Names are not looked up per client.
    #[error(
        "ipFilterRules: name:{pattern} has a wildcard, which needs a DNS lookup for every client; \
         write the addresses as ip:<pattern>"
    )]
    NamePattern {
        /// As written.
        pattern: String,
    },
    /// A name has no address.
    #[error("ipFilterRules: name:{name} cannot be resolved; write its address as ip:<address>")]
    Resolve {
        /// As written.
        name: String,
        /// What the resolver said.
        #[source]
        source: std::io::Error,
    },
}

#[derive(Debug, Clone)]
enum Who {
    Anyone,
    ThisMachine,
    Addresses(Vec<IpAddr>),
    Pattern(String),
}

/// Checked rules.
#[derive(Debug, Clone, Default)]
pub struct IpFilter {
    rules: Vec<(bool, Who)>,
}

impl IpFilter {
    /// Resolves names; may wait for the DNS, so it runs at start.
    ///
    /// # Errors
    /// [`IpFilterError`].
    pub fn new(rules: &[IpFilterRule]) -> Result<Self, IpFilterError> {
        let rules = rules.iter().map(|rule| Ok((rule.allow, who(rule)?)));
        Ok(Self {
            rules: rules.collect::<Result<_, _>>()?,
        })
    }

    /// Whether a client at `address` may connect.
    #[must_use]
    pub fn allows(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        for (allow, who) in &self.rules {
            let matched = match who {
                Who::Anyone => true,
                Who::ThisMachine => is_this_machine(address),
                Who::Addresses(addresses) => addresses.contains(&address),
                Who::Pattern(pattern) => {
                    matches(pattern.as_bytes(), address.to_string().as_bytes())
                }
            };
            if matched {
                return *allow;
            }
        }
        true
    }
}

fn who(rule: &IpFilterRule) -> Result<Who, IpFilterError> {
    let pattern = rule.pattern.clone();
    if pattern == "*" {
        return Ok(Who::Anyone);
    }
    if !rule.by_name {
        return Ok(Who::Pattern(pattern));
    }
    if pattern == "localhost" {
        return Ok(Who::ThisMachine);
    }
    if pattern.contains(['*', '?']) {
        return Err(IpFilterError::NamePattern { pattern });
    }
    match (pattern.as_str(), 0).to_socket_addrs() {
        Ok(found) => Ok(Who::Addresses(
            found.map(|address| address.ip().to_canonical()).collect(),
        )),
        Err(source) => Err(IpFilterError::Resolve {
            name: pattern,
            source,
        }),
    }
}

/// An address is ours when a socket can be bound to it.
fn is_this_machine(address: IpAddr) -> bool {
    address.is_loopback() || UdpSocket::bind((address, 0)).is_ok()
}

/// `*` any run, `?` one character, everything else itself; the whole text must match.
fn matches(pattern: &[u8], text: &[u8]) -> bool {
    let (mut at, mut seen) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while seen < text.len() {
        match pattern.get(at) {
            Some(b'*') => {
                star = Some((at, seen));
                at += 1;
            }
            Some(wanted) if *wanted == b'?' || Some(wanted) == text.get(seen) => {
                at += 1;
                seen += 1;
            }
            _ => match star {
                Some((star_at, star_seen)) => {
                    star = Some((star_at, star_seen + 1));
                    at = star_at + 1;
                    seen = star_seen + 1;
                }
                None => return false,
            },
        }
    }
    pattern.iter().skip(at).all(|rest| *rest == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(allow: bool, by_name: bool, pattern: &str) -> IpFilterRule {
        IpFilterRule {
            allow,
            by_name,
            pattern: pattern.to_owned(),
        }
    }

    #[test]
    fn patterns_match_the_whole_text() {
        for (pattern, text, expected) in [
            ("127.*", "127.0.0.1", true),
            ("127.*.2", "127.0.0.1", false),
            ("10.0.0.?", "10.0.0.7", true),
            ("10.0.0.?", "10.0.0.77", false),
            ("*.7*", "10.7.0.77", true),
            ("10.0.0.1", "10.0.0.11", false),
        ] {
            assert_eq!(
                matches(pattern.as_bytes(), text.as_bytes()),
                expected,
                "{pattern}"
            );
        }
    }

    #[test]
    fn first_match_decides_and_no_match_allows() {
        let check = |rules: &[IpFilterRule], address: &str, expected| {
            let filter = IpFilter::new(rules).unwrap();
            assert_eq!(filter.allows(address.parse().unwrap()), expected);
        };
        let rules = [
            rule(true, true, "localhost"),
            rule(false, false, "10.*"),
            rule(true, false, "10.1.*"),
        ];
        check(&rules, "127.0.0.1", true);
        check(&rules, "::ffff:10.1.2.3", false);
        check(&rules, "192.0.2.1", true);
        check(&[rule(false, true, "localhost")], "192.0.2.1", true);
        check(&[rule(false, false, "*")], "192.0.2.1", false);
        assert!(IpFilter::new(&[rule(true, true, "*.example")]).is_err());
    }
}
