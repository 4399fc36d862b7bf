//! A channel whose events are made as they are taken.
//!
//! Event `n` has header `key = k<n mod KEYS>` and a body of `n` in ten digits, padded to 512 bytes.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;

use flumen::channel::{Block, Consumer, DeliveredTo, Feed, Next, record_bytes, write_record};
use flumen::event::{Batch, Overlay, encode_event};
use tokio::sync::Notify;

/// Different keys, so that order can be seen per key and per partition.
pub const KEYS: u64 = 16;
const BODY_BYTES: usize = 512;
const BLOCK_EVENTS: u64 = 1_000;

struct Generated {
    next: u64,
    total: u64,
    overlay: Overlay,
    delivered: Rc<Cell<u64>>,
}

/// A channel of `total` events, and how many its sink has delivered.
pub fn channel(total: u64, overlay: Overlay) -> (Consumer, Rc<Cell<u64>>) {
    let delivered = Rc::new(Cell::new(0));
    let feed = Generated {
        next: 0,
        total,
        overlay,
        delivered: Rc::clone(&delivered),
    };
    let consumer = Consumer::new(vec![Box::new(feed)], Arc::new(Notify::new()));
    (consumer, delivered)
}

impl Feed for Generated {
    fn shard(&self) -> u32 {
        0
    }

    fn start(&self) -> DeliveredTo {
        DeliveredTo::default()
    }

    fn next(&mut self) -> Next {
        let count = BLOCK_EVENTS.min(self.total - self.next);
        if count == 0 {
            return Next::Empty;
        }
        let first_event = self.next;
        self.next += count;
        let mut events = Vec::new();
        for number in first_event..self.next {
            let headers = BTreeMap::from([("key".to_owned(), format!("k{}", number % KEYS))]);
            let mut body = format!("{number:010}").into_bytes();
            body.resize(BODY_BYTES, b'.');
            encode_event(&mut events, &headers, &body);
        }
        let batch = Batch {
            pieces: &[&events],
            event_count: usize::try_from(count).expect("few"),
            overlay: &self.overlay,
            arrival_ms: 0,
        };
        let mut overlay = Vec::new();
        if !self.overlay.is_empty() {
            self.overlay.encode(&mut overlay);
        }
        let mut payload = vec![0; record_bytes(&batch, &overlay)];
        write_record(&mut payload, &batch, &overlay);
        Next::Block(Block {
            sequence: first_event / BLOCK_EVENTS,
            first_event,
            event_count: u32::try_from(count).expect("few"),
            segment: 0,
            offset: 0,
            held_bytes: payload.len(),
            payload: payload.into(),
        })
    }

    fn delivered(&mut self, cursor: DeliveredTo) {
        assert!(cursor.event > self.delivered.get(), "a cursor only grows");
        self.delivered.set(cursor.event);
    }
}
