//! The disk itself: an image, the rules it follows, the log of what it did.
//!
//! Shared by the threads that serve the kernel and by the test. One lock; requests that take long
//! wait outside of it.

use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rustix::io::Errno;

use super::image::Image;
use super::log::{Content, Entry, Log, Logged, touched};
use super::rules::{Effect, Operation, Part, Rule};

/// A handle on the disk. Clones share it.
#[derive(Debug, Clone)]
pub struct Disk {
    shared: Arc<(Mutex<State>, Condvar)>,
}

#[derive(Debug)]
struct State {
    image: Image,
    log: Log,
    /// Behind the last flush in the log.
    durable: usize,
    rules: Vec<Rule>,
    /// Where the sink puts its files; looked at with each entry.
    output: Option<PathBuf>,
    hits: u64,
    /// How often it was healed. A request that waits goes on when this changes.
    healed: u64,
}

/// One request of the kernel.
#[derive(Debug)]
pub enum Request {
    /// Bytes wanted.
    Read {
        /// Where.
        offset: u64,
        /// How many.
        length: usize,
    },
    /// Bytes brought.
    Write {
        /// Where.
        offset: u64,
        /// What.
        bytes: Vec<u8>,
    },
    /// See [`Operation::Flush`].
    Flush,
}

/// What the kernel is told.
#[derive(Debug)]
pub enum Answer {
    /// The bytes wanted.
    Bytes(Vec<u8>),
    /// So many were taken.
    Taken(usize),
    /// Flushed.
    Flushed,
}

impl Disk {
    /// A disk that holds `image`.
    pub fn new(image: Image) -> Self {
        let state = State {
            log: Log::new(image.clone()),
            image,
            durable: 0,
            rules: Vec::new(),
            output: None,
            hits: 0,
            healed: 0,
        };
        Self {
            shared: Arc::new((Mutex::new(state), Condvar::new())),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.shared.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Size in bytes.
    pub fn bytes(&self) -> u64 {
        self.state().image.bytes()
    }

    /// Replaces what it holds. The log begins anew; nothing may be mounted.
    pub fn insert(&self, image: Image) {
        let mut state = self.state();
        state.log = Log::new(image.clone());
        state.image = image;
        state.durable = 0;
    }

    /// Looks at the files in `output` with each entry of the log from here on.
    pub fn watch_output(&self, output: Option<PathBuf>) {
        self.state().output = output;
    }

    /// The log so far. What the disk holds is the beginning of the next.
    pub fn take_log(&self) -> Log {
        let mut state = self.state();
        let next = Log::new(state.image.clone());
        state.durable = 0;
        std::mem::replace(&mut state.log, next)
    }

    /// The position behind the last flush: what came before it is durable. Whoever is told OK now was
    /// told on the strength of nothing later.
    pub fn durable_position(&self) -> usize {
        self.state().durable
    }

    /// From here on `rule` holds, before those that hold already.
    pub fn inject(&self, rule: Rule) {
        self.state().rules.insert(0, rule);
    }

    /// No rule holds any more, and requests that wait go on.
    pub fn heal(&self) {
        let mut state = self.state();
        state.rules.clear();
        state.healed += 1;
        self.shared.1.notify_all();
    }

    /// Waits as long as a delayed request does.
    pub fn wait(&self, delay: Duration) {
        let state = self.state();
        let before = state.healed;
        let waited = self
            .shared
            .1
            .wait_timeout_while(state, delay, |state| state.healed == before);
        drop(waited.unwrap_or_else(PoisonError::into_inner));
    }

    /// Requests that a rule has hit.
    pub fn hits(&self) -> u64 {
        self.state().hits
    }

    /// Serves a request: at once, or after the time returned, by calling [`Disk::finish`].
    pub fn begin(&self, request: &Request) -> (Option<Effect>, Duration) {
        let mut state = self.state();
        let effect = state.effect_on(request);
        match effect {
            Some(Effect::Delay(time)) => (None, time),
            other => (other, Duration::ZERO),
        }
    }

    /// Does what was asked, or what `effect` makes of it.
    pub fn finish(&self, request: Request, effect: Option<Effect>) -> Result<Answer, Errno> {
        let mut state = self.state();
        match request {
            Request::Read { offset, length } => {
                if let Some(Effect::Fail(errno)) = effect {
                    return Err(errno);
                }
                let mut bytes = vec![0; length];
                state.image.read(offset, &mut bytes);
                Ok(Answer::Bytes(bytes))
            }
            Request::Write { offset, mut bytes } => {
                let length = bytes.len();
                let content = Content::of(&bytes);
                let offset = match effect {
                    Some(Effect::Fail(errno)) => {
                        state.log(Entry::FailedWrite { content });
                        return Err(errno);
                    }
                    Some(Effect::Lose) => return Ok(Answer::Taken(length)),
                    Some(Effect::Misdirect(by)) => offset + by,
                    Some(Effect::Tear(kept)) => {
                        bytes.truncate(kept);
                        offset
                    }
                    Some(Effect::Delay(_)) | None => offset,
                };
                state.image.write(offset, &bytes);
                state.log(Entry::Write {
                    offset,
                    bytes: bytes.into(),
                });
                Ok(Answer::Taken(length))
            }
            Request::Flush => match effect {
                Some(Effect::Fail(errno)) => {
                    state.log(Entry::FailedFlush);
                    Err(errno)
                }
                Some(Effect::Lose) => Ok(Answer::Flushed),
                _ => {
                    state.log(Entry::Flush);
                    state.durable = state.log.entries.len();
                    Ok(Answer::Flushed)
                }
            },
        }
    }
}

impl State {
    fn effect_on(&mut self, request: &Request) -> Option<Effect> {
        let (operation, content, range) = match request {
            Request::Read { offset, length } => {
                let mut first = [0; 64];
                self.image.read(*offset, &mut first);
                let content = Content::of(&first);
                (Operation::Read, content, touched(*offset, *length))
            }
            Request::Write { offset, bytes } => {
                let range = touched(*offset, bytes.len());
                (Operation::Write, Content::of(bytes), range)
            }
            Request::Flush => (Operation::Flush, self.unflushed(), 0..0),
        };
        let mut rules = self.rules.iter_mut();
        let effect = rules.find_map(|rule| rule.hit(operation, content, &range));
        self.hits += u64::from(effect.is_some());
        effect
    }

    /// What was written since the last flush, if it is all of the log's blocks.
    fn unflushed(&self) -> Content {
        let mut all = None;
        for logged in &self.log.entries[self.durable..] {
            if let Entry::Write { bytes, .. } = &logged.entry {
                let content = Content::of(bytes);
                if !Part::Blocks.covers(content) {
                    return Content::Other;
                }
                all = Some(content);
            }
        }
        all.unwrap_or(Content::Other)
    }

    fn log(&mut self, entry: Entry) {
        let output_bytes = self.output.as_ref().map_or(0, |folder| {
            let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
            let sizes = entries.filter_map(|entry| Some(entry.metadata().ok()?.len()));
            sizes.sum()
        });
        self.log.entries.push(Logged {
            entry,
            output_bytes,
        });
    }
}
