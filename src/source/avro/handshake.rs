//! The handshake: client and server compare the MD5 of their protocols.
//!
//! [`Protocols`] is shared by the shards of a source: a client that was understood once is understood on
//! whichever shard its next connection comes to. The rest is pure.

#![deny(clippy::indexing_slicing)]

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use super::call::skip_map;
use super::foreign::{Foreign, ForeignError};
use crate::event::{AvroError, Cursor, write_bytes};
use crate::limits::{HANDSHAKE_CACHE_MAX, PROTOCOL_TEXT_BYTES_MAX};

/// Flume's protocol, byte for byte the text that every Flume since 1.2 hashes.
pub const PROTOCOL_JSON: &str = include_str!("protocol.json");

/// MD5 of [`PROTOCOL_JSON`].
pub const OWN_HASH: [u8; 16] = [
    0x86, 0xaa, 0xda, 0xe2, 0xc4, 0x54, 0x74, 0xc0, 0xfe, 0x93, 0xff, 0xd0, 0xf2, 0x35, 0x0a, 0x65,
];

/// How the request of a client is encoded.
#[derive(Debug, Clone)]
pub enum Layout {
    /// As ours: the bytes are used as they are.
    Own,
    /// By the client's own schema: decoded and encoded anew.
    Foreign(Arc<Foreign>),
}

/// What the client is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Match {
    /// Both know the other's protocol.
    Both,
    /// We know the client's; it learns ours.
    Client,
    /// We do not know the client's: it sends its text next.
    None,
}

/// What a client says first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Handshake<'a> {
    /// MD5 of the client's protocol.
    pub client_hash: [u8; 16],
    /// Text of the client's protocol.
    pub client_protocol: Option<&'a [u8]>,
    /// The client's guess of our hash.
    pub server_hash: [u8; 16],
}

/// Why a handshake is refused. The connection goes on.
#[derive(Debug, thiserror::Error)]
pub enum HandshakeError {
    /// The bytes are no handshake.
    #[error(transparent)]
    Avro(#[from] AvroError),
    /// The client's protocol is too long.
    #[error("a client protocol of {text_bytes} bytes; at most {text_bytes_max} are accepted")]
    ProtocolText {
        /// Its length.
        text_bytes: usize,
        /// The limit.
        text_bytes_max: usize,
    },
    /// The client's protocol cannot be read.
    #[error(transparent)]
    Foreign(#[from] ForeignError),
}

impl<'a> Handshake<'a> {
    /// Reads a handshake request; the cursor stands at the call then.
    ///
    /// # Errors
    /// The bytes are no handshake.
    pub fn read(cursor: &mut Cursor<'a>) -> Result<Self, AvroError> {
        let client_hash = hash(cursor)?;
        let client_protocol = match is_present(cursor)? {
            false => None,
            true => Some(cursor.bytes()?),
        };
        let server_hash = hash(cursor)?;
        if is_present(cursor)? {
            skip_map(cursor)?;
        }
        Ok(Self {
            client_hash,
            client_protocol,
            server_hash,
        })
    }
}

/// Branch of a union of null and something.
fn is_present(cursor: &mut Cursor<'_>) -> Result<bool, AvroError> {
    let offset = cursor.offset();
    match cursor.length()? {
        0 => Ok(false),
        1 => Ok(true),
        index => Err(AvroError::Branch { offset, index }),
    }
}

fn hash(cursor: &mut Cursor<'_>) -> Result<[u8; 16], AvroError> {
    let bytes = cursor.fixed(16)?;
    Ok(bytes.first_chunk::<16>().copied().unwrap_or_default())
}

/// | client's protocol | its guess of ours | match  | our protocol in the reply |
/// |-------------------|-------------------|--------|---------------------------|
/// | known             | right             | BOTH   | no                        |
/// | known             | wrong             | CLIENT | yes                       |
/// | unknown           | either            | NONE   | yes                       |
pub(crate) const fn decide(client_known: bool, guess_right: bool) -> Match {
    match (client_known, guess_right) {
        (true, true) => Match::Both,
        (true, false) => Match::Client,
        (false, _) => Match::None,
    }
}

/// The handshake part of a reply.
pub(crate) fn response(matched: Match) -> Vec<u8> {
    let index = match matched {
        Match::Both => return vec![0, 0, 0, 0],
        Match::Client => 2,
        Match::None => 4,
    };
    let mut out = vec![index, 2];
    write_bytes(&mut out, PROTOCOL_JSON.as_bytes());
    out.push(2);
    out.extend_from_slice(&OWN_HASH);
    out.push(0);
    out
}

/// Client protocols that a source has seen. Bounded: the oldest is forgotten, and its
/// client sends its text again.
#[derive(Debug, Default)]
pub struct Protocols {
    layouts: BTreeMap<[u8; 16], Layout>,
    oldest_first: VecDeque<[u8; 16]>,
}

impl Protocols {
    /// The client's layout if its protocol is known or came along, and what to answer.
    ///
    /// # Errors
    /// [`HandshakeError`].
    pub fn agree(
        &mut self,
        handshake: &Handshake<'_>,
    ) -> Result<(Option<Layout>, Match), HandshakeError> {
        let layout = self.layout(handshake)?;
        let matched = decide(layout.is_some(), handshake.server_hash == OWN_HASH);
        Ok((layout, matched))
    }

    fn layout(&mut self, handshake: &Handshake<'_>) -> Result<Option<Layout>, HandshakeError> {
        if handshake.client_hash == OWN_HASH {
            return Ok(Some(Layout::Own));
        }
        if let Some(layout) = self.layouts.get(&handshake.client_hash) {
            return Ok(Some(layout.clone()));
        }
        let Some(text) = handshake.client_protocol else {
            return Ok(None);
        };
        if text.len() > PROTOCOL_TEXT_BYTES_MAX {
            return Err(HandshakeError::ProtocolText {
                text_bytes: text.len(),
                text_bytes_max: PROTOCOL_TEXT_BYTES_MAX,
            });
        }
        let layout = Foreign::layout(text)?;
        if self.oldest_first.len() >= HANDSHAKE_CACHE_MAX
            && let Some(oldest) = self.oldest_first.pop_front()
        {
            self.layouts.remove(&oldest);
        }
        self.oldest_first.push_back(handshake.client_hash);
        self.layouts.insert(handshake.client_hash, layout.clone());
        assert!(
            self.layouts.len() <= HANDSHAKE_CACHE_MAX,
            "the cache is bounded"
        );
        Ok(Some(layout))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(client_hash: [u8; 16], text: Option<&str>, server_hash: [u8; 16]) -> Vec<u8> {
        let mut out = client_hash.to_vec();
        match text {
            None => out.push(0),
            Some(text) => {
                out.push(2);
                write_bytes(&mut out, text.as_bytes());
            }
        }
        out.extend(server_hash);
        out.extend([2, 0]);
        out
    }

    fn agree(protocols: &mut Protocols, request: &[u8]) -> Match {
        let mut cursor = Cursor::new(request);
        let handshake = Handshake::read(&mut cursor).unwrap();
        assert_eq!(cursor.bytes_left(), 0);
        protocols.agree(&handshake).unwrap().1
    }

    #[test]
    fn decisions_follow_the_table() {
        let mut protocols = Protocols::default();
        let guess = [9; 16];
        let own = OWN_HASH;
        let check = |protocols: &mut Protocols, hash, text, guess, expected| {
            assert_eq!(agree(protocols, &request(hash, text, guess)), expected);
        };
        check(&mut protocols, own, None, own, Match::Both);
        check(&mut protocols, own, None, guess, Match::Client);
        check(&mut protocols, [1; 16], None, own, Match::None);
        check(
            &mut protocols,
            [1; 16],
            Some(PROTOCOL_JSON),
            own,
            Match::Both,
        );
        check(&mut protocols, [1; 16], None, own, Match::Both);
        check(&mut protocols, [1; 16], None, guess, Match::Client);
    }

    /// Found by fuzzing: any branch but the first was taken for the second.
    #[test]
    fn a_branch_that_the_union_does_not_have_is_refused() {
        let branch = |offset, index| Err(AvroError::Branch { offset, index });
        let mut sent = request(OWN_HASH, None, OWN_HASH);
        *sent.get_mut(33).unwrap() = 4;
        assert_eq!(Handshake::read(&mut Cursor::new(&sent)), branch(33, 2));
        *sent.get_mut(16).unwrap() = 6;
        assert_eq!(Handshake::read(&mut Cursor::new(&sent)), branch(16, 3));
    }

    #[test]
    fn memory_of_protocols_is_bounded() {
        let mut protocols = Protocols::default();
        for number in 0..HANDSHAKE_CACHE_MAX + 10 {
            let mut hash = [0; 16];
            hash.iter_mut()
                .zip((number as u64).to_le_bytes())
                .for_each(|(to, from)| *to = from);
            agree(
                &mut protocols,
                &request(hash, Some(PROTOCOL_JSON), OWN_HASH),
            );
        }
        assert_eq!(protocols.layouts.len(), HANDSHAKE_CACHE_MAX);
        assert_eq!(
            agree(&mut protocols, &request([0; 16], None, OWN_HASH)),
            Match::None
        );
    }

    #[test]
    fn text_hashes_to_flumes_value() {
        assert_eq!(PROTOCOL_JSON.len(), 1334);
        assert_eq!(md5(PROTOCOL_JSON.as_bytes()), OWN_HASH);
    }

    /// RFC 1321, for this test only.
    #[expect(clippy::indexing_slicing, reason = "fixed-size arrays of a test")]
    fn md5(text: &[u8]) -> [u8; 16] {
        const SHIFTS: [[u32; 4]; 4] = [
            [7, 12, 17, 22],
            [5, 9, 14, 20],
            [4, 11, 16, 23],
            [6, 10, 15, 21],
        ];
        let mut padded = text.to_vec();
        padded.push(0x80);
        while padded.len() % 64 != 56 {
            padded.push(0);
        }
        padded.extend((text.len() as u64 * 8).to_le_bytes());
        let mut state = [0x6745_2301u32, 0xefcd_ab89, 0x98ba_dcfe, 0x1032_5476];
        for chunk in padded.chunks_exact(64) {
            let words: Vec<u32> = chunk
                .as_chunks::<4>()
                .0
                .iter()
                .map(|word| u32::from_le_bytes(*word))
                .collect();
            let [mut a, mut b, mut c, mut d] = state;
            for step in 0..64usize {
                let (mixed, word) = match step / 16 {
                    0 => ((b & c) | (!b & d), step),
                    1 => ((d & b) | (!d & c), (5 * step + 1) % 16),
                    2 => (b ^ c ^ d, (3 * step + 5) % 16),
                    _ => (c ^ (b | !d), 7 * step % 16),
                };
                #[expect(clippy::cast_sign_loss, reason = "an absolute value")]
                #[expect(clippy::cast_possible_truncation, reason = "below 2^32")]
                let constant = (((step + 1) as f64).sin().abs() * 4_294_967_296.0) as u32;
                let sum = a
                    .wrapping_add(mixed)
                    .wrapping_add(constant)
                    .wrapping_add(words[word]);
                (a, d, c) = (d, c, b);
                b = b.wrapping_add(sum.rotate_left(SHIFTS[step / 16][step % 4]));
            }
            for (to, from) in state.iter_mut().zip([a, b, c, d]) {
                *to = to.wrapping_add(from);
            }
        }
        let mut out = [0; 16];
        for (to, from) in out
            .iter_mut()
            .zip(state.iter().flat_map(|w| w.to_le_bytes()))
        {
            *to = from;
        }
        out
    }
}
