//! Events that carry their own identity and checksum, the same ones `tests/partners/java/RpcSend.java` sends.
//!
//! Body: `prefix-connection-number|filler|crc`, ASCII without line ends, where crc is the CRC32C of all
//! before the last bar in eight hex digits. So any copy of a body, wherever it turns up, can be told
//! from an altered one without asking whoever sent it.

use std::fmt;

/// Who sent an event and which of theirs it is. Ordered by sender, then number.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Identity {
    /// The sender's name, without `-`.
    pub prefix: String,
    /// The sender's connection.
    pub connection: u32,
    /// Counted from 0 per connection.
    pub number: u64,
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}-{}", self.prefix, self.connection, self.number)
    }
}

impl Identity {
    /// Reads back what `Display` wrote.
    pub fn parse(text: &str) -> Option<Self> {
        let (rest, number) = text.rsplit_once('-')?;
        let (prefix, connection) = rest.rsplit_once('-')?;
        Some(Self {
            prefix: prefix.to_owned(),
            connection: connection.parse().ok()?,
            number: number.parse().ok()?,
        })
    }
}

/// One event to send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TestEvent {
    /// In the order they go on the wire.
    pub headers: Vec<(String, String)>,
    /// As described above, unless made by hand.
    pub body: Vec<u8>,
}

impl TestEvent {
    /// The event with this identity, `body_bytes` long (or as long as its identity needs).
    pub fn with_identity(identity: &Identity, body_bytes: usize) -> Self {
        let mut text = format!("{identity}|");
        while text.len() + 9 < body_bytes {
            let letter = (text.len() as u64 + identity.number) % 26;
            text.push(char::from(b'a' + u8::try_from(letter).expect("below 26")));
        }
        let crc = crc32c::crc32c(text.as_bytes());
        text.push_str(&format!("|{crc:08x}"));
        let headers = vec![
            ("id".to_owned(), identity.to_string()),
            ("host".to_owned(), "sender".to_owned()),
        ];
        Self {
            headers,
            body: text.into_bytes(),
        }
    }

    /// An event made by hand.
    pub fn new(headers: &[(&str, &str)], body: &[u8]) -> Self {
        let headers = headers
            .iter()
            .map(|&(key, value)| (key.to_owned(), value.to_owned()))
            .collect();
        Self {
            headers,
            body: body.to_vec(),
        }
    }
}

/// The identity in a body, or why it is not one of ours unaltered.
pub fn check_body(body: &[u8]) -> Result<Identity, String> {
    let show = || String::from_utf8_lossy(&body[..body.len().min(120)]).into_owned();
    let text = std::str::from_utf8(body).map_err(|_| format!("not text: {}", show()))?;
    let (content, crc) = text
        .rsplit_once('|')
        .ok_or_else(|| format!("no checksum: {}", show()))?;
    if crc != format!("{:08x}", crc32c::crc32c(content.as_bytes())) {
        return Err(format!("checksum differs: {}", show()));
    }
    let id = content.split('|').next().unwrap_or_default();
    Identity::parse(id).ok_or_else(|| format!("no identity: {}", show()))
}

/// The checksum a body carries: of its identity and its filler.
pub fn checksum_of(body: &[u8]) -> Option<u32> {
    let text = std::str::from_utf8(body).ok()?;
    let (_, checksum) = text.rsplit_once('|')?;
    u32::from_str_radix(checksum, 16).ok()
}
