//! The handshake, and the protocols of third-party clients: read as `apache-avro` reads it, decided by
//! the table, and what a client's own schema decodes to is events in our encoding.
//!
//! ```text
//! offset  size  field
//!      0     1  flags              1: what follows is a handshake as it is sent; else it is made of
//!                                  the rest. 2: our own hash; 4: the right guess; 8: no text;
//!                                  16: the request is of `append`
//!      1     2  bytes of the text of the client's protocol, then the text
//!      …     …  a request by that protocol
//! ```

use flumen::event::{AvroError, Cursor, Events, Overlay, write_bytes};
use flumen::limits::PROTOCOL_TEXT_BYTES_MAX;
use flumen::source::avro::{
    EventLimits, Foreign, Handshake, Layout, Match, OWN_HASH, Protocols, scan_event,
};

use super::reference;
use crate::input::Input;
use crate::meter::held;
use crate::planted::is_planted;

/// Parsed JSON and schemas, in bytes for each byte of text, and what a parser needs to begin.
const PARSED_RATIO_MAX: usize = 256;
const PARSED_BYTES_MIN: usize = 64 * 1024;
/// Our own protocol is parsed for comparison.
const OWN_PARSED_BYTES_MAX: usize = 128 * 1024;

const LIMITS: EventLimits = EventLimits {
    batch_events_max: 1000,
    event_bytes_max: 1 << 20,
};

pub(crate) fn run(data: &[u8]) {
    let mut input = Input::new(data);
    let flags = input.u8();
    if flags & 1 != 0 {
        as_sent(input.rest());
        return;
    }
    let client_hash = if flags & 2 != 0 { OWN_HASH } else { [7; 16] };
    let server_hash = if flags & 4 != 0 { OWN_HASH } else { [9; 16] };
    let text_bytes = usize::from(input.u16());
    let text = (flags & 8 == 0).then(|| input.bytes(text_bytes));
    let request = input.rest();

    let mut sent = client_hash.to_vec();
    match text {
        None => sent.push(0),
        Some(text) => {
            sent.push(2);
            write_bytes(&mut sent, text);
        }
    }
    sent.extend_from_slice(&server_hash);
    sent.extend_from_slice(&[2, 0]);
    let handshake = as_sent(&sent).expect("handshake: a valid one is refused");
    let expected = Handshake {
        client_hash,
        client_protocol: text,
        server_hash,
    };
    assert_eq!(handshake, expected, "handshake: not what was written");
    let layout = decided(&handshake);
    if let Some(Layout::Foreign(foreign)) = layout {
        decoded(&foreign, flags & 16 == 0, request);
    }
}

/// Reads bytes as a handshake, and holds the result against the reference.
fn as_sent(bytes: &[u8]) -> Option<Handshake<'_>> {
    let mut cursor = Cursor::new(bytes);
    let ours = held(0, || Handshake::read(&mut cursor));
    match (ours, reference::handshake(bytes)) {
        (Ok(ours), Some((theirs, rest))) => {
            assert_eq!(cursor.rest(), rest, "handshake: ends elsewhere");
            assert_eq!(&ours.client_hash[..], theirs.client_hash, "handshake: hash");
            assert_eq!(
                ours.client_protocol.map(<[u8]>::to_vec),
                theirs.client_protocol,
                "handshake: text"
            );
            assert_eq!(
                &ours.server_hash[..],
                theirs.server_hash,
                "handshake: guess"
            );
            Some(ours)
        }
        (Ok(_), None) => panic!("handshake: accepted, but apache-avro refuses it"),
        (Err(error), Some((_, rest))) => {
            // A union whose index ends with the data is null to the crate only.
            let no_meta = rest.is_empty()
                && matches!(error, AvroError::Truncated { offset, .. }
                    if bytes[offset..].iter().all(|byte| *byte >= 0x80));
            let is_stricter = matches!(
                error,
                AvroError::VarintTooLong { .. } | AvroError::NegativeLength { .. }
            );
            assert!(
                no_meta || is_stricter,
                "handshake: {error}, but apache-avro reads it"
            );
            None
        }
        (Err(_), None) => None,
    }
}

/// What is agreed follows the table of the handshake, and is remembered.
fn decided(handshake: &Handshake<'_>) -> Option<Layout> {
    let mut protocols = Protocols::default();
    let text_bytes = handshake.client_protocol.map_or(0, <[u8]>::len);
    let memory = OWN_PARSED_BYTES_MAX + PARSED_BYTES_MIN + PARSED_RATIO_MAX * text_bytes;
    let agreed = held(memory, || protocols.agree(handshake));
    let is_ours = handshake.client_hash == OWN_HASH;
    let guess_right = handshake.server_hash == OWN_HASH;
    let Ok((layout, matched)) = agreed else {
        let text = handshake
            .client_protocol
            .expect("handshake: nothing to refuse");
        assert!(!is_ours, "handshake: our own protocol is refused");
        assert!(
            text.len() > PROTOCOL_TEXT_BYTES_MAX || Foreign::layout(text).is_err(),
            "handshake: refused, but the text can be used"
        );
        return None;
    };
    // The defect: an unknown protocol counts as known.
    let matched = match matched {
        Match::None if is_planted() => Match::Client,
        other => other,
    };
    let known = is_ours || handshake.client_protocol.is_some();
    let expected = match (known, guess_right) {
        (true, true) => Match::Both,
        (true, false) => Match::Client,
        (false, _) => Match::None,
    };
    assert_eq!(
        matched, expected,
        "handshake: another answer than the table's"
    );
    assert_eq!(
        layout.is_some(),
        known,
        "handshake: a layout exactly when known"
    );
    let again = Handshake {
        client_protocol: None,
        ..*handshake
    };
    let (remembered, _) = protocols.agree(&again).expect("nothing to parse");
    assert_eq!(remembered.is_some(), known, "handshake: forgotten");
    layout
}

/// What a client's schema decodes to is as many events as it says, each in our encoding, and no larger
/// than what was sent.
fn decoded(foreign: &Foreign, is_batch: bool, request: &[u8]) {
    let memory = 4 * request.len() + 1024;
    let Ok((events, count)) = held(memory, || foreign.decode(is_batch, request, &LIMITS)) else {
        return;
    };
    assert!(
        foreign.has(is_batch),
        "handshake: a message that is not there"
    );
    assert!(
        count <= LIMITS.batch_events_max,
        "handshake: too many events"
    );
    let mut cursor = Cursor::new(&events);
    for _ in 0..count {
        scan_event(&mut cursor, &LIMITS).expect("handshake: an event that is none");
    }
    assert_eq!(cursor.bytes_left(), 0, "handshake: more than the events");
    let overlay = Overlay::default();
    let read = Events::new(&events, &overlay, 0)
        .filter(Result::is_ok)
        .count();
    assert_eq!(read, count, "handshake: another number of events");
}
