//! A call and the scan of its events: what passes, `apache-avro` reads as the same events, and what it
//! reads, passes, unless a limit that is listed here stands against it.
//!
//! ```text
//! offset  size  field
//!      0     1  batch_events_max, in steps of 8
//!      1     2  event_bytes_max
//!      3     …  metadata, name and request
//! ```

use flumen::event::{AvroError, Cursor, EventView, Events, Overlay};
use flumen::source::avro::{
    Call, CallError, EventLimits, Pieces, ScanError, scan_array, scan_event,
};

use super::reference::{self, PlainEvent};
use crate::input::Input;
use crate::meter::held;
use crate::planted::is_planted;

pub(crate) fn run(data: &[u8]) {
    let mut input = Input::new(data);
    let limits = EventLimits {
        batch_events_max: usize::from(input.u8()) * 8,
        event_bytes_max: usize::from(input.u16()),
    };
    let message = input.rest();
    let mut cursor = Cursor::new(message);
    let call = held(0, || Call::read(&mut cursor));
    let is_batch = match (call, reference::head(message)) {
        (Ok(call), Some((name, request))) => {
            assert_eq!(cursor.rest(), request, "call: the request begins elsewhere");
            match call {
                Call::AppendBatch => assert_eq!(name, b"appendBatch", "call: another name"),
                Call::Append => assert_eq!(name, b"append", "call: another name"),
                Call::Ping => assert_eq!(name, b"", "call: another name"),
                Call::Unknown(ours) => assert_eq!(name, ours, "call: another name"),
            }
            // The scan of a request is worth trying under any name.
            !matches!(call, Call::Append)
        }
        (Err(CallError::Head(error)), theirs) => {
            assert!(
                theirs.is_none() || is_stricter(&error),
                "call: {error}, but apache-avro reads the head"
            );
            return;
        }
        (Ok(call), None) => panic!("call: {call:?}, but apache-avro refuses the head"),
    };
    scan(cursor.rest(), is_batch, &limits);
}

/// Where we refuse what the crate reads: a tenth varint byte whose upper bits Java and the crate
/// drop, and the size of a block that is below zero.
fn is_stricter(error: &AvroError) -> bool {
    matches!(
        error,
        AvroError::VarintTooLong { .. } | AvroError::NegativeLength { .. }
    )
}

fn scan(request: &[u8], is_batch: bool, limits: &EventLimits) {
    // A piece is two words, and the list of them doubles: 3 bytes of request make an array block.
    let pieces_max = (request.len() / 3).min(limits.batch_events_max) + 4;
    let list_bytes_max = 3 * pieces_max * size_of::<&[u8]>();
    let mut cursor = Cursor::new(request);
    let mut pieces = Pieces::default();
    let scanned = held(list_bytes_max, || match is_batch {
        true => scan_array(&mut cursor, limits, &mut pieces),
        false => scan_event(&mut cursor, limits).map(|event| {
            pieces.push(event);
            1
        }),
    });
    let theirs = match is_batch {
        true => reference::events(request),
        false => reference::event(request).map(|(event, rest)| (vec![event], rest)),
    };
    let scanned = match scanned {
        // The defect: that the data ends early is not looked at.
        Err(ScanError::Avro(AvroError::Truncated { .. })) if is_planted() => Ok(0),
        other => other,
    };
    match (scanned, theirs) {
        (Ok(count), Some((events, rest))) => {
            assert_eq!(count, events.len(), "call: another number of events");
            assert_eq!(cursor.rest(), rest, "call: the batch ends elsewhere");
            assert!(
                count <= limits.batch_events_max.max(1),
                "call: too many events"
            );
            check_views(&pieces, &events, limits);
        }
        (Ok(_), None) => panic!("call: the scan accepts what apache-avro refuses"),
        (Err(error), theirs) => check_refusal(&error, theirs.map(|(events, _)| events), limits),
    }
}

/// The views of the events show what the crate decoded.
fn check_views(pieces: &Pieces<'_>, events: &[PlainEvent], limits: &EventLimits) {
    let overlay = Overlay::default();
    let views = pieces
        .as_slice()
        .iter()
        .flat_map(|piece| Events::new(piece, &overlay, 0));
    let mut seen = 0;
    for (view, event) in views.zip(events) {
        let view = view.expect("call: what the scan accepts is read");
        check_view(&view, event);
        assert!(
            view.encoded().len() <= limits.event_bytes_max,
            "call: event size"
        );
        seen += 1;
    }
    assert_eq!(seen, events.len(), "call: pieces hold all events");
}

fn check_view(view: &EventView<'_>, event: &PlainEvent) {
    assert_eq!(view.body(), event.body, "call: another body");
    let own: Vec<(Vec<u8>, Vec<u8>)> = view
        .own_headers()
        .map(|(key, value)| (key.to_vec(), value.to_vec()))
        .collect();
    assert_eq!(own, event.headers, "call: other headers");
    // Of a key that comes twice the last value counts, and it is shown once.
    let shown = view.headers();
    for (key, value) in &shown {
        let last = event.headers.iter().rfind(|(known, _)| known == key);
        let (_, last) = last.expect("call: a header nobody sent");
        assert_eq!(value, last, "call: another value");
        assert_eq!(
            view.header(key),
            Some(*value),
            "call: another value by name"
        );
    }
    let mut ordered = view.headers_in_flume_order();
    assert_eq!(ordered.len(), shown.len(), "call: a header is shown twice");
    ordered.sort_unstable();
    ordered.dedup_by_key(|(key, _)| *key);
    assert_eq!(ordered.len(), shown.len(), "call: a header is shown twice");
}

/// A refusal is of bytes the crate refuses too, or of a limit that is really passed.
fn check_refusal(error: &ScanError, theirs: Option<Vec<PlainEvent>>, limits: &EventLimits) {
    match *error {
        ScanError::Avro(error) => assert!(
            theirs.is_none() || is_stricter(&error),
            "call: {error}, but apache-avro reads the events"
        ),
        ScanError::BatchEvents { .. } => assert!(
            theirs.is_none_or(|events| events.len() > limits.batch_events_max),
            "call: refused for a number of events that is allowed"
        ),
        ScanError::EventBytes { event_bytes, .. } => assert!(
            event_bytes > limits.event_bytes_max,
            "call: refused for a size that is allowed"
        ),
        // Claimed, not sent: inputs are too short to hold so many or so much.
        ScanError::Headers { header_count, .. } => {
            assert!(theirs.is_none(), "call: refused for {header_count} headers");
        }
        ScanError::HeaderBytes { string_bytes, .. } => {
            assert!(theirs.is_none(), "call: refused for {string_bytes} bytes");
        }
    }
}
