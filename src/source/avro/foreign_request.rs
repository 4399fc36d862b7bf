//! One request of a third-party client, by its own schema: its events, written anew as ours.
//!
//! One pass over the bytes. What it takes is bounded by what was received, whatever a length in it
//! claims and however a schema is made: text and bodies are copied once, and a value that takes no
//! bytes (a null, an empty record) takes one of a bounded number of steps.

#![deny(clippy::indexing_slicing)]

use super::foreign::ForeignError;
use super::shape::{NODES_MAX, Shape};
use crate::event::{AvroError, Cursor, write_bytes, write_long};
use crate::limits::EVENT_HEADERS_MAX;

/// Parts of values for each byte of a request.
const STEPS_PER_BYTE: usize = 8;

/// Reads a request: the record of a message's parameters.
pub(super) struct Request<'a> {
    cursor: Cursor<'a>,
    steps_left: usize,
    batch_events_max: usize,
    event_count: usize,
    out: Vec<u8>,
}

impl<'a> Request<'a> {
    pub(super) fn new(bytes: &'a [u8], batch_events_max: usize) -> Self {
        Self {
            cursor: Cursor::new(bytes),
            steps_left: bytes.len().saturating_mul(STEPS_PER_BYTE) + NODES_MAX,
            batch_events_max,
            event_count: 0,
            out: Vec::new(),
        }
    }

    /// The events of the parameter `event`, or `events` of a batch, and their number.
    pub(super) fn events(
        mut self,
        parameters: &Shape,
        is_batch: bool,
    ) -> Result<(Vec<u8>, usize), ForeignError> {
        let Shape::Record(parameters) = parameters else {
            return Err(ForeignError::Missing("request"));
        };
        let wanted = if is_batch { "events" } else { "event" };
        let mut found = false;
        for (name, shape) in parameters {
            if name != wanted {
                self.skip(shape)?;
                continue;
            }
            found = true;
            match (is_batch, self.bare(shape)?) {
                (true, Shape::Array(event)) => self.blocks(|request| request.event(event))?,
                (true, _) => return Err(ForeignError::Missing("events")),
                (false, event) => self.event(event)?,
            }
        }
        if !found {
            return Err(ForeignError::Missing("request"));
        }
        Ok((self.out, self.event_count))
    }

    /// The shape of the value that is next: of a union, the branch that was chosen.
    fn bare<'s>(&mut self, mut shape: &'s Shape) -> Result<&'s Shape, ForeignError> {
        self.step()?;
        while let Shape::Union(branches) = shape {
            let offset = self.cursor.offset();
            let index = self.cursor.length()?;
            let chosen = branches.get(index);
            shape = chosen.ok_or(AvroError::Branch { offset, index })?;
        }
        Ok(shape)
    }

    fn step(&mut self) -> Result<(), ForeignError> {
        self.steps_left = self.steps_left.checked_sub(1).ok_or(ForeignError::Steps)?;
        Ok(())
    }

    /// Every value of an array or map, block by block.
    fn blocks(
        &mut self,
        mut value: impl FnMut(&mut Self) -> Result<(), ForeignError>,
    ) -> Result<(), ForeignError> {
        loop {
            let count = self.cursor.block_count()?;
            if count == 0 {
                return Ok(());
            }
            for _ in 0..count {
                value(self)?;
            }
        }
    }

    fn skip(&mut self, shape: &Shape) -> Result<(), ForeignError> {
        match self.bare(shape)? {
            Shape::Fixed(length) => {
                self.cursor.fixed(*length)?;
            }
            Shape::Long => {
                self.cursor.long()?;
            }
            Shape::Bytes => {
                self.cursor.bytes()?;
            }
            Shape::Array(value) => self.blocks(|request| request.skip(value))?,
            Shape::Map(value) => self.blocks(|request| {
                request.cursor.bytes()?;
                request.skip(value)
            })?,
            Shape::Record(fields) => {
                for (_, shape) in fields {
                    self.skip(shape)?;
                }
            }
            Shape::Union(_) => unreachable!("a bare shape is none"),
        }
        Ok(())
    }

    fn event(&mut self, shape: &Shape) -> Result<(), ForeignError> {
        self.event_count += 1;
        if self.event_count > self.batch_events_max {
            return Err(ForeignError::BatchEvents {
                batch_events_max: self.batch_events_max,
            });
        }
        let Shape::Record(fields) = self.bare(shape)? else {
            return Err(ForeignError::Missing("AvroFlumeEvent"));
        };
        let (mut headers, mut body) = (None, None);
        for (name, shape) in fields {
            match name.as_str() {
                "headers" => headers = Some(self.headers(shape)?),
                "body" => {
                    if !matches!(self.bare(shape)?, Shape::Bytes) {
                        return Err(ForeignError::Missing("body"));
                    }
                    body = Some(self.cursor.bytes()?);
                }
                _ => self.skip(shape)?,
            }
        }
        let (count, headers) = headers.ok_or(ForeignError::Missing("headers"))?;
        let body = body.ok_or(ForeignError::Missing("body"))?;
        if count > 0 {
            write_long(&mut self.out, count);
            self.out.extend_from_slice(&headers);
        }
        self.out.push(0);
        write_bytes(&mut self.out, body);
        Ok(())
    }

    /// Headers in our encoding, without their count, and the count.
    fn headers(&mut self, shape: &Shape) -> Result<(i64, Vec<u8>), ForeignError> {
        let Shape::Map(value) = self.bare(shape)? else {
            return Err(ForeignError::Missing("headers"));
        };
        let (mut count, mut headers) = (0usize, Vec::new());
        self.blocks(|request| {
            count += 1;
            if count > EVENT_HEADERS_MAX {
                return Err(ForeignError::Headers);
            }
            let key = request.cursor.bytes()?;
            let Shape::Bytes = request.bare(value)? else {
                return Err(ForeignError::Missing("headers"));
            };
            write_bytes(&mut headers, key);
            write_bytes(&mut headers, request.cursor.bytes()?);
            Ok(())
        })?;
        Ok((count as i64, headers))
    }
}
