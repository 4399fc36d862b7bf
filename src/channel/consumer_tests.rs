//! The consumer over a scripted feed: what its sinks get, and how far the cursor goes.

use futures_lite::future;

use super::*;
use crate::channel::block::{record_bytes, write_record};
use crate::event::{Batch, encode_event};

/// One block of a script, and how the feed hands it out.
struct Item {
    block: Block,
    /// Whether it has to be read back, and how often that fails first.
    fetch: Option<u32>,
}

#[derive(Default)]
struct Script {
    items: VecDeque<Item>,
    opened: Vec<u64>,
    delivered: Vec<DeliveredTo>,
}

struct Scripted {
    shard: u32,
    start: DeliveredTo,
    script: Rc<RefCell<Script>>,
}

impl Feed for Scripted {
    fn shard(&self) -> u32 {
        self.shard
    }

    fn start(&self) -> DeliveredTo {
        self.start
    }

    fn next(&mut self) -> Next {
        let mut script = self.script.borrow_mut();
        let Some(item) = script.items.front() else {
            return Next::Empty;
        };
        if item.fetch.is_some() {
            let (script, shard) = (Rc::clone(&self.script), self.shard);
            return Next::Fetch(Box::pin(fetch(script, shard)));
        }
        script
            .items
            .pop_front()
            .map_or(Next::Empty, |item| Next::Block(item.block))
    }

    fn opened(&mut self, sequence: u64) {
        self.script.borrow_mut().opened.push(sequence);
    }

    fn delivered(&mut self, cursor: DeliveredTo) {
        self.script.borrow_mut().delivered.push(cursor);
    }
}

/// Reads the front block back. As a real feed, it forgets the block only when the read has succeeded.
async fn fetch(script: Rc<RefCell<Script>>, shard: u32) -> Result<Block, TakeError> {
    future::yield_now().await;
    let mut script = script.borrow_mut();
    let front = script.items.front_mut().expect("one fetch at a time");
    let failures_left = front.fetch.as_mut().expect("the block has to be read back");
    if *failures_left > 0 {
        *failures_left -= 1;
        let source = Arc::new(std::io::Error::other("the disk says no"));
        let (segment, offset) = (front.block.segment, front.block.offset);
        return Err(TakeError::Read {
            shard,
            segment,
            offset,
            source,
        });
    }
    Ok(script.items.pop_front().expect("it is still there").block)
}

/// A block whose events are their own numbers, in records of so many events.
fn block(sequence: u64, first_event: u64, records: &[u32]) -> Block {
    let mut payload = Vec::new();
    let mut number = first_event;
    for event_count in records {
        let mut events = Vec::new();
        for _ in 0..*event_count {
            encode_event(&mut events, &BTreeMap::new(), number.to_string().as_bytes());
            number += 1;
        }
        let overlay = Overlay::default();
        let batch = Batch {
            pieces: &[&events],
            event_count: *event_count as usize,
            overlay: &overlay,
            arrival_ms: 7,
        };
        let at = payload.len();
        payload.resize(at + record_bytes(&batch, &[]), 0);
        write_record(&mut payload[at..], &batch, &[]);
    }
    Block {
        sequence,
        first_event,
        event_count: records.iter().sum(),
        segment: 100 + sequence,
        offset: 4096 * sequence,
        held_bytes: payload.len(),
        payload: Bytes::from(payload),
    }
}

/// A consumer over one shard, and its script.
struct Rig {
    consumer: Consumer,
    script: Rc<RefCell<Script>>,
}

impl Rig {
    fn new(blocks: Vec<Block>) -> Self {
        Self::starting_at(DeliveredTo::default(), blocks)
    }

    fn starting_at(start: DeliveredTo, blocks: Vec<Block>) -> Self {
        let items = blocks.into_iter().map(|block| Item { block, fetch: None });
        let script = Script {
            items: items.collect(),
            ..Script::default()
        };
        let script = Rc::new(RefCell::new(script));
        let feed = Scripted {
            shard: 3,
            start,
            script: Rc::clone(&script),
        };
        let consumer = Consumer::new(vec![Box::new(feed)], Arc::default());
        Self { consumer, script }
    }

    fn push(&self, block: Block, fetch: Option<u32>) {
        self.script
            .borrow_mut()
            .items
            .push_back(Item { block, fetch });
    }

    fn take(&self, max: usize) -> Transaction {
        future::block_on(self.consumer.take(max))
            .unwrap()
            .expect("something waits")
    }

    fn assert_empty(&self) {
        let taken = future::block_on(self.consumer.take(1)).unwrap();
        assert!(taken.is_none(), "{:?}", taken.map(|taken| numbers(&taken)));
    }

    /// Events and blocks of every move of the cursor.
    fn moves(&self) -> Vec<(u64, u64)> {
        let script = self.script.borrow();
        script
            .delivered
            .iter()
            .map(|place| (place.event, place.block))
            .collect()
    }
}

fn numbers(transaction: &Transaction) -> Vec<u64> {
    let number = |body: &[u8]| std::str::from_utf8(body).unwrap().parse().unwrap();
    let numbers: Vec<u64> = transaction
        .iter()
        .map(|event| number(event.unwrap().body()))
        .collect();
    assert_eq!(numbers.len(), transaction.event_count());
    numbers
}

fn range(from: u64, to: u64) -> Vec<u64> {
    (from..to).collect()
}

#[test]
fn events_come_in_order_in_transactions_of_the_batch_size() {
    let rig = Rig::new(vec![
        block(0, 0, &[3, 1]),
        block(1, 4, &[5]),
        block(2, 9, &[1]),
    ]);
    for (max, expected) in [
        (2, range(0, 2)),
        (4, range(2, 6)),
        (3, range(6, 9)),
        (9, range(9, 10)),
    ] {
        let taken = rig.take(max);
        assert_eq!(numbers(&taken), expected);
        assert_eq!(taken.shard(), 3);
        taken.commit();
    }
    rig.assert_empty();
    assert_eq!(rig.script.borrow().opened, [0, 1, 2]);
    assert_eq!(rig.moves().last().unwrap().0, 10);
}

#[test]
fn batch_size_splits_a_record_wherever_it_falls() {
    for max in 1..=7 {
        let rig = Rig::new(vec![block(0, 0, &[6]), block(1, 6, &[1, 6])]);
        let mut all = Vec::new();
        while all.len() < 13 {
            let taken = rig.take(max);
            assert!(taken.event_count() <= max);
            all.extend(numbers(&taken));
            taken.commit();
        }
        assert_eq!(all, range(0, 13), "batch size {max}");
        assert_eq!(rig.moves().last().unwrap().0, 13);
    }
}

#[test]
fn rolled_back_events_come_again_first_and_in_order() {
    let rig = Rig::new(vec![block(0, 0, &[3, 3]), block(1, 6, &[3])]);
    let taken = rig.take(4);
    assert_eq!(numbers(&taken), range(0, 4));
    taken.rollback();
    let taken = rig.take(2);
    assert_eq!(numbers(&taken), range(0, 2));
    drop(taken);
    assert_eq!(rig.moves(), [], "nothing was delivered");
    let taken = rig.take(100);
    assert_eq!(numbers(&taken), range(0, 9));
    taken.commit();
    assert_eq!(rig.moves().last().unwrap().0, 9);
}

#[test]
fn transactions_rolled_back_out_of_order_come_again_in_order() {
    let rig = Rig::new(vec![block(0, 0, &[9])]);
    let [first, second, third] = [rig.take(3), rig.take(3), rig.take(3)];
    third.rollback();
    first.rollback();
    second.rollback();
    assert_eq!(numbers(&rig.take(100)), range(0, 9));
}

#[test]
fn delivery_between_two_rolled_back_transactions_is_not_repeated() {
    let rig = Rig::new(vec![block(0, 0, &[4, 4]), block(1, 8, &[4])]);
    let [first, second, third] = [rig.take(3), rig.take(3), rig.take(3)];
    assert_eq!(numbers(&second), range(3, 6));
    first.rollback();
    third.rollback();
    second.commit();
    assert_eq!(rig.moves(), [], "the events before it are not delivered");
    let again = rig.take(100);
    assert_eq!(numbers(&again), [range(0, 3), range(6, 12)].concat());
    again.commit();
    assert_eq!(rig.moves().last(), Some(&(12, 1)));
    rig.assert_empty();
}

#[test]
fn cursor_waits_for_the_oldest_transaction() {
    let rig = Rig::new(vec![
        block(0, 0, &[2]),
        block(1, 2, &[2]),
        block(2, 4, &[2]),
    ]);
    let [first, second, third] = [rig.take(2), rig.take(2), rig.take(2)];
    third.commit();
    second.commit();
    assert_eq!(rig.moves(), []);
    first.commit();
    assert_eq!(rig.moves(), [(6, 2)]);
}

#[test]
fn lost_blocks_are_passed_once_everything_before_them_is_delivered() {
    let rig = Rig::new(vec![block(0, 0, &[3]), block(4, 10, &[2])]);
    let first = rig.take(3);
    let second = rig.take(2);
    assert_eq!(numbers(&second), [10, 11]);
    second.commit();
    assert_eq!(rig.moves(), []);
    first.commit();
    assert_eq!(rig.moves(), [(12, 4)]);
}

#[test]
fn lost_blocks_at_the_start_are_passed_at_once() {
    let start = DeliveredTo {
        event: 5,
        ..DeliveredTo::default()
    };
    let rig = Rig::starting_at(start, vec![block(2, 8, &[2])]);
    assert_eq!(numbers(&rig.take(9)), [8, 9]);
    assert_eq!(rig.moves().len(), 1);
    assert_eq!(rig.moves()[0].0, 8);
}

#[test]
fn start_inside_a_record_resumes_there() {
    for from in 0..=8u64 {
        let start = DeliveredTo {
            event: from,
            ..DeliveredTo::default()
        };
        let rig = Rig::starting_at(start, vec![block(0, 0, &[3, 4]), block(1, 7, &[2])]);
        let taken = rig.take(100);
        assert_eq!(numbers(&taken), range(from, 9), "from {from}");
        taken.commit();
        assert_eq!(rig.moves().last().unwrap().0, 9);
    }
}

#[test]
fn read_that_fails_is_an_error_and_the_next_take_tries_again() {
    let rig = Rig::new(Vec::new());
    rig.push(block(0, 0, &[2]), Some(2));
    rig.push(block(1, 2, &[2]), None);
    for _ in 0..2 {
        let error = future::block_on(rig.consumer.take(4)).unwrap_err();
        assert!(
            matches!(
                error,
                TakeError::Read {
                    shard: 3,
                    segment: 100,
                    ..
                }
            ),
            "{error}"
        );
    }
    assert_eq!(numbers(&rig.take(100)), range(0, 4));
}

#[test]
fn what_is_in_memory_goes_out_before_a_block_is_read_back() {
    let rig = Rig::new(vec![block(0, 0, &[2])]);
    rig.push(block(1, 2, &[2]), Some(1));
    let first = rig.take(100);
    assert_eq!(numbers(&first), range(0, 2));
    assert!(future::block_on(rig.consumer.take(100)).is_err());
    let second = rig.take(100);
    assert_eq!(numbers(&second), range(2, 4));
    first.rollback();
    assert_eq!(numbers(&rig.take(100)), range(0, 2));
}

#[test]
fn while_one_sink_reads_back_another_finds_nothing_and_is_woken_later() {
    let rig = Rig::new(Vec::new());
    rig.push(block(0, 0, &[4]), Some(0));
    let mut reading = std::pin::pin!(rig.consumer.take(2));
    assert!(future::block_on(future::poll_once(reading.as_mut())).is_none());
    rig.assert_empty();
    let first = future::block_on(reading).unwrap().unwrap();
    assert_eq!(numbers(&first), range(0, 2));
    future::block_on(rig.consumer.wait());
    assert_eq!(numbers(&rig.take(2)), range(2, 4));
}

#[test]
fn sink_that_gives_up_a_read_leaves_it_to_the_next() {
    let rig = Rig::new(Vec::new());
    rig.push(block(0, 0, &[4]), Some(0));
    {
        let mut reading = std::pin::pin!(rig.consumer.take(2));
        assert!(future::block_on(future::poll_once(reading.as_mut())).is_none());
    }
    assert_eq!(numbers(&rig.take(9)), range(0, 4));
}

#[test]
fn cursor_names_the_place_of_the_block_to_resume_with() {
    let rig = Rig::new(vec![
        block(5, 0, &[3]),
        block(6, 3, &[3]),
        block(7, 6, &[3]),
    ]);
    for _ in 0..5 {
        rig.take(2).commit();
    }
    let script = rig.script.borrow();
    for to in &script.delivered {
        // The block begins at or before the event: resuming with it repeats and loses nothing.
        let block_first_event = (to.block - 5) * 3;
        assert!(
            block_first_event <= to.event && to.event <= block_first_event + 3,
            "{to:?}"
        );
        assert_eq!((to.segment, to.offset), (100 + to.block, 4096 * to.block));
    }
    drop(script);
    // A transaction over two blocks moves the cursor twice.
    assert_eq!(
        rig.moves(),
        [(2, 5), (3, 6), (4, 6), (6, 6), (8, 7), (9, 7)]
    );
}

#[test]
fn damaged_block_is_named_once_and_passed() {
    let mut damaged = block(1, 2, &[2, 2]);
    let mut payload = damaged.payload.to_vec();
    let second_record = payload.len() / 2;
    payload[second_record] = 0xff;
    damaged.payload = Bytes::from(payload);
    let rig = Rig::new(vec![block(0, 0, &[2]), damaged, block(2, 6, &[2])]);
    let first = rig.take(4);
    assert_eq!(numbers(&first), range(0, 4));
    let error = future::block_on(rig.consumer.take(4)).unwrap_err();
    assert!(
        matches!(
            error,
            TakeError::Damaged {
                shard: 3,
                sequence: 1,
                ..
            }
        ),
        "{error}"
    );
    let last = rig.take(4);
    assert_eq!(numbers(&last), [6, 7]);
    last.commit();
    assert_eq!(rig.moves(), []);
    first.commit();
    assert_eq!(rig.moves().last(), Some(&(8, 2)));
}

#[test]
fn shards_are_served_in_turn_and_an_empty_one_is_passed_over() {
    let rigs: Vec<Rc<RefCell<Script>>> = [vec![4, 4], vec![], vec![4, 4]]
        .into_iter()
        .map(|records: Vec<u32>| {
            let mut script = Script::default();
            if !records.is_empty() {
                script.items.push_back(Item {
                    block: block(0, 0, &records),
                    fetch: None,
                });
            }
            Rc::new(RefCell::new(script))
        })
        .collect();
    let feeds = rigs.iter().zip(0..).map(|(script, shard)| {
        let feed = Scripted {
            shard,
            start: DeliveredTo::default(),
            script: Rc::clone(script),
        };
        Box::new(feed) as Box<dyn Feed>
    });
    let counters = Arc::new(ChannelCounters::default());
    let consumer = Consumer::with_counters(feeds.collect(), Arc::default(), Arc::clone(&counters));
    let mut shards = Vec::new();
    while let Some(taken) = future::block_on(consumer.take(4)).unwrap() {
        shards.push(taken.shard());
        taken.commit();
    }
    assert_eq!(shards, [0, 2, 0, 2]);
    assert_eq!(counters.event_take_success.get(), 16);
    assert_eq!(
        counters.event_take_attempt.get(),
        17,
        "and the take that found nothing"
    );
}

#[test]
fn rollback_wakes_a_sink_that_waits() {
    let rig = Rig::new(vec![block(0, 0, &[2])]);
    let more = Arc::clone(&rig.consumer.more);
    let taken = rig.take(2);
    // The permit left by the take itself.
    future::block_on(more.notified());
    let mut waiting = std::pin::pin!(rig.consumer.wait());
    assert!(future::block_on(future::poll_once(waiting.as_mut())).is_none());
    taken.rollback();
    assert!(future::block_on(future::poll_once(waiting)).is_some());
}
