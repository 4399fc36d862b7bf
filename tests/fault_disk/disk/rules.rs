//! Faults by rule: which request is hit, and what happens to it.

use std::ops::Range;
use std::time::Duration;

use rustix::io::Errno;

use super::log::Content;

/// What the kernel asks of a disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    /// Bytes from it.
    Read,
    /// Bytes to it.
    Write,
    /// Everything written so far must survive a power cut.
    Flush,
}

/// Which part of what is on the disk. A flush belongs to a part when all that was written since the
/// flush before does, so that [`Part::Blocks`] leaves the file system's own journal alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// All of it.
    Any,
    /// Blocks of the log.
    Blocks,
    /// Blocks and headers of segments.
    Segments,
}

impl Part {
    /// Whether a request about this content is meant.
    pub fn covers(self, content: Content) -> bool {
        match self {
            Self::Any => true,
            Self::Blocks => matches!(content, Content::Block { .. }),
            Self::Segments => matches!(content, Content::Block { .. } | Content::Header { .. }),
        }
    }
}

/// What happens to a request that is hit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// The disk answers with this error, and nothing is written.
    Fail(Errno),
    /// The disk answers OK and does nothing: a lost write, a flush that lies.
    Lose,
    /// Only so many bytes are written, and the disk answers OK.
    Tear(usize),
    /// The write lands so many bytes further on.
    Misdirect(u64),
    /// It takes this long.
    Delay(Duration),
}

/// One fault.
#[derive(Debug, Clone)]
pub struct Rule {
    operation: Option<Operation>,
    part: Part,
    range: Option<Range<u64>>,
    skip: u32,
    times: u32,
    effect: Effect,
}

impl Rule {
    /// `effect` on every request.
    pub fn every(effect: Effect) -> Self {
        Self {
            operation: None,
            part: Part::Any,
            range: None,
            skip: 0,
            times: u32::MAX,
            effect,
        }
    }

    /// `effect` on every `operation`.
    pub fn on(operation: Operation, effect: Effect) -> Self {
        Self {
            operation: Some(operation),
            ..Self::every(effect)
        }
    }

    /// Only where `part` is concerned.
    pub fn of(self, part: Part) -> Self {
        Self { part, ..self }
    }

    /// Only where the request touches `range`. Flushes have none.
    pub fn within(self, range: Range<u64>) -> Self {
        Self {
            range: Some(range),
            ..self
        }
    }

    /// Leaves the first `count` alone.
    pub fn after(self, count: u32) -> Self {
        Self {
            skip: count,
            ..self
        }
    }

    /// So many and no more.
    pub fn times(self, count: u32) -> Self {
        Self {
            times: count,
            ..self
        }
    }

    /// What happens to this request, if it is hit. `touched` is empty for a flush.
    pub fn hit(
        &mut self,
        operation: Operation,
        content: Content,
        touched: &Range<u64>,
    ) -> Option<Effect> {
        let meant = self.operation.is_none_or(|wanted| wanted == operation)
            && self.part.covers(content)
            && self
                .range
                .as_ref()
                .is_none_or(|range| range.start < touched.end && touched.start < range.end);
        if !meant || self.times == 0 {
            return None;
        }
        if self.skip > 0 {
            self.skip -= 1;
            return None;
        }
        self.times -= 1;
        Some(self.effect)
    }
}

#[test]
fn rules_count_and_choose() {
    let block = Content::Block {
        segment: 1,
        epoch: 2,
        sequence: 3,
    };
    let fail = Effect::Fail(Errno::IO);
    let mut rule = Rule::on(Operation::Write, fail)
        .of(Part::Blocks)
        .within(100..200)
        .after(1)
        .times(1);
    let mut ask = |operation, content, range: Range<u64>| rule.hit(operation, content, &range);
    assert_eq!(ask(Operation::Read, block, 100..200), None);
    assert_eq!(ask(Operation::Write, Content::Other, 100..200), None);
    assert_eq!(ask(Operation::Write, block, 200..300), None);
    assert_eq!(ask(Operation::Write, block, 0..101), None, "the first");
    assert_eq!(ask(Operation::Write, block, 199..300), Some(fail));
    assert_eq!(ask(Operation::Write, block, 199..300), None, "the third");
}
