//! A channel in memory: blocks that were put are fed to one consumer, and what it delivered is known.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;
use flumen::channel::{Block, Consumer, DeliveredTo, Feed, Next, record_bytes, write_record};
use flumen::event::{Batch, Overlay, encode_event};
use tokio::sync::Notify;

const BLOCK_EVENTS: u64 = 2000;

/// The body of event `number`.
pub fn body(number: u64) -> String {
    format!("event {number}")
}

/// Events of one shard.
#[derive(Default)]
pub struct Log {
    shared: Rc<Shared>,
    headers: BTreeMap<String, String>,
}

#[derive(Default)]
struct Shared {
    blocks: RefCell<VecDeque<Block>>,
    appended: Cell<u64>,
    delivered: Cell<u64>,
}

struct LogFeed(Rc<Shared>);

impl Feed for LogFeed {
    fn shard(&self) -> u32 {
        0
    }

    fn start(&self) -> DeliveredTo {
        DeliveredTo::default()
    }

    fn next(&mut self) -> Next {
        let block = self.0.blocks.borrow_mut().pop_front();
        block.map_or(Next::Empty, Next::Block)
    }

    fn delivered(&mut self, cursor: DeliveredTo) {
        self.0.delivered.set(cursor.event);
    }
}

impl Log {
    /// A log of `count` events with the bodies of [`body`].
    pub fn with_events(count: u64, headers: &[(&str, &str)]) -> Self {
        let log = Self {
            headers: headers
                .iter()
                .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
                .collect(),
            ..Self::default()
        };
        log.add(count, body);
        log
    }

    /// Appends `count` events with the bodies of [`body`].
    pub fn add_events(&self, count: u64) {
        self.add(count, body);
    }

    /// The one consumer of this log.
    pub fn consumer(&self) -> Consumer {
        let feed = LogFeed(Rc::clone(&self.shared));
        Consumer::new(vec![Box::new(feed)], Arc::new(Notify::new()))
    }

    /// Events below the cursor.
    pub fn delivered(&self) -> u64 {
        self.shared.delivered.get()
    }

    /// Appends `count` events with these bodies.
    pub fn add(&self, count: u64, body: impl Fn(u64) -> String) {
        let first = self.shared.appended.get();
        let end = first + count;
        let mut next = first;
        while next < end {
            let stop = end.min(next + BLOCK_EVENTS);
            let mut events = Vec::new();
            for number in next..stop {
                let mut headers = self.headers.clone();
                headers.insert("number".to_owned(), (number % 6).to_string());
                encode_event(&mut events, &headers, body(number).as_bytes());
            }
            self.push(next, stop - next, &events);
            next = stop;
        }
        self.shared.appended.set(end);
    }

    fn push(&self, first_event: u64, event_count: u64, events: &[u8]) {
        let overlay = Overlay::default();
        let pieces = [events];
        let batch = Batch {
            pieces: &pieces,
            event_count: usize::try_from(event_count).unwrap(),
            overlay: &overlay,
            arrival_ms: 0,
        };
        let mut payload = vec![0; record_bytes(&batch, &[])];
        write_record(&mut payload, &batch, &[]);
        self.shared.blocks.borrow_mut().push_back(Block {
            sequence: first_event,
            first_event,
            event_count: u32::try_from(event_count).unwrap(),
            segment: 0,
            offset: 0,
            held_bytes: payload.len(),
            payload: Bytes::from(payload),
        });
    }
}
