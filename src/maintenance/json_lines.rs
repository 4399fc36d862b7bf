//! Events as JSON, one object a line.
//!
//! `headers` is an object of text. A body that is UTF-8 is `body`; any other is `body_base64` (RFC 4648,
//! with padding), so nothing is altered on the way. Bytes of a header that are not UTF-8, which Avro
//! forbids and no Flume client sends, become U+FFFD.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::Serialize;

use crate::event::EventView;

#[derive(Serialize)]
struct Line<'a> {
    shard: u32,
    event: u64,
    arrival_ms: u64,
    headers: BTreeMap<Cow<'a, str>, Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    body: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    body_base64: Option<String>,
}

/// Appends the line of one event.
pub fn append(out: &mut Vec<u8>, shard: u32, number: u64, event: &EventView<'_>) {
    let text = std::str::from_utf8(event.body()).ok();
    let headers = event.headers().into_iter();
    let line = Line {
        shard,
        event: number,
        arrival_ms: event.arrival_ms(),
        headers: headers
            .map(|(key, value)| (String::from_utf8_lossy(key), String::from_utf8_lossy(value)))
            .collect(),
        body: text,
        body_base64: text.is_none().then(|| base64(event.body())),
    };
    serde_json::to_writer(&mut *out, &line).expect("text goes into memory");
    out.push(b'\n');
}

/// RFC 4648, section 4.
#[must_use]
pub fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let byte = |at: usize| u32::from(chunk.get(at).copied().unwrap_or(0));
        let group = byte(0) << 16 | byte(1) << 8 | byte(2);
        for digit in 0..4 {
            let index = (group >> (18 - 6 * digit)) & 63;
            out.push(match digit <= chunk.len() {
                true => char::from(DIGITS[index as usize]),
                false => '=',
            });
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Events, Overlay, encode_event};

    #[test]
    fn base64_is_that_of_the_standard() {
        let cases: [(&[u8], &str); 5] = [
            (b"", ""),
            (b"f", "Zg=="),
            (b"fo", "Zm8="),
            (b"foo", "Zm9v"),
            (&[0xfb, 0xff, 0xfe, 0x00], "+//+AA=="),
        ];
        for (bytes, text) in cases {
            assert_eq!(base64(bytes), text);
        }
    }

    #[test]
    fn a_body_is_text_where_it_can_be_and_never_altered() {
        let check = |body: &[u8], expected: &str| {
            let headers = BTreeMap::from([("a\"".to_owned(), "ü".to_owned())]);
            let mut encoded = Vec::new();
            encode_event(&mut encoded, &headers, body);
            let overlay = Overlay::default();
            let event = Events::new(&encoded, &overlay, 9).next().unwrap().unwrap();
            let mut out = Vec::new();
            append(&mut out, 1, 7, &event);
            assert_eq!(String::from_utf8(out).unwrap(), expected);
        };
        check(
            b"line\n",
            "{\"shard\":1,\"event\":7,\"arrival_ms\":9,\"headers\":{\"a\\\"\":\"ü\"},\"body\":\"line\\n\"}\n",
        );
        check(
            b"\xff\x00",
            "{\"shard\":1,\"event\":7,\"arrival_ms\":9,\"headers\":{\"a\\\"\":\"ü\"},\"body_base64\":\"/wA=\"}\n",
        );
    }
}
