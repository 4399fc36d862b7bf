//! The progress of a tool: a bar on a terminal, nothing elsewhere.

use std::cell::Cell;
use std::sync::Arc;
use std::time::Duration;

use crate::admin::clock::Stopwatch;
use crate::admin::{Console, Progress, ProgressBoard, Unit};

const SHOW_EVERY: Duration = Duration::from_millis(100);

/// One long work of a tool.
#[derive(Debug)]
pub struct Meter {
    board: Arc<ProgressBoard>,
    progress: Option<Progress>,
    since: Stopwatch,
    shown: Cell<Duration>,
}

impl Meter {
    /// Begins; `total_bytes` may be an estimate.
    #[must_use]
    pub fn begin(name: &str, total_bytes: u64) -> Self {
        let board = ProgressBoard::new(Console::stderr());
        let progress = board.begin(name, Unit::Bytes, total_bytes);
        Self {
            board,
            progress: Some(progress),
            since: Stopwatch::start(),
            shown: Cell::new(Duration::ZERO),
        }
    }

    /// So much more is done.
    pub fn add(&self, bytes: u64, events: u64) {
        if let Some(progress) = &self.progress {
            progress.add(bytes);
            progress.add_events(events);
        }
        let now = self.since.elapsed();
        if now >= self.shown.get() + SHOW_EVERY {
            self.shown.set(now);
            self.board.show();
        }
    }
}

impl Drop for Meter {
    fn drop(&mut self) {
        self.progress = None;
        // Takes the bar away.
        self.board.show();
    }
}
