//! `flumen wal export`: copies events out of a log, and says from where to go on.
//!
//! Always true of an [`Export`], however it ended: every event below `next` of its shard, from where it
//! began, has arrived, was lost to damage and counted, or was released by a running agent.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde::Serialize;

use super::error::MaintenanceError;
use super::meter::Meter;
use super::outlet::Outlet;
use super::salvage::Salvage;
use super::selection::{Part, cursors, of_shard, parts};
use super::site::Site;
use super::walk::{Step, Walk};
use crate::channel::Block;
use crate::channel::wal::Found;
use crate::config::wal_command_line::ExportArguments;
use crate::reactor::ReadOnlyWorld;

/// How it came out.
#[derive(Debug, Serialize)]
pub struct Export {
    /// Everything that was asked for was copied, as far as it is whole.
    pub complete: bool,
    /// Events that arrived.
    pub events: u64,
    /// Events that damage took.
    pub lost_events: u64,
    /// Events that a running agent released first: every group has delivered them.
    pub released_events: u64,
    /// Each shard's next event.
    pub shards: Vec<Reached>,
    /// Why it is not complete.
    pub error: Option<String>,
}

/// How far it came in one shard.
#[derive(Debug, Clone, Serialize)]
pub struct Reached {
    /// Shard number.
    pub shard: u32,
    /// The file, when one was exported by itself.
    pub file: Option<PathBuf>,
    /// First event not copied: what to give to `--from`.
    pub next: u64,
}

/// An export under way.
#[derive(Debug)]
struct Exporter {
    ground: ReadOnlyWorld,
    outlet: Outlet,
    stop: Arc<AtomicBool>,
    result: Export,
    /// Taken by the outlet, not known to have arrived.
    waiting: u64,
    /// The part and the event behind the last one taken.
    taken: Option<(usize, u64)>,
}

/// Copies what `arguments` ask for.
///
/// # Errors
/// Nothing could be begun. What goes wrong later is part of the result, with its exit code.
pub async fn export(
    arguments: &ExportArguments,
) -> Result<(Export, Option<MaintenanceError>), MaintenanceError> {
    let from = cursors(&arguments.from)?;
    let until = cursors(&arguments.until)?;
    if !arguments.file.is_empty() {
        let mut exporter = Exporter::new(arguments)?;
        let outcome = exporter.copy_files(&arguments.file, &from, &until).await;
        return Ok(exporter.end(outcome.err()).await);
    }
    let site = Site::of(&arguments.log)?;
    if let Some(error) = site.unreadable().into_iter().next() {
        return Err(error.into());
    }
    let ground = ReadOnlyWorld::default();
    let parts = parts(&ground, &site, arguments, &from, &until).await?;
    let mut exporter = Exporter::new(arguments)?;
    let outcome = exporter.copy_all(&site, parts).await;
    Ok(exporter.end(outcome.err()).await)
}

impl Exporter {
    fn new(arguments: &ExportArguments) -> Result<Self, MaintenanceError> {
        let stop = Arc::new(AtomicBool::new(false));
        for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
            // A second one ends the process where it stands.
            signal_hook::flag::register_conditional_shutdown(signal, 130, Arc::clone(&stop))
                .and_then(|_| signal_hook::flag::register(signal, Arc::clone(&stop)))
                .map_err(|source| MaintenanceError::Output {
                    path: "signal handlers".into(),
                    source,
                })?;
        }
        Ok(Self {
            ground: ReadOnlyWorld::default(),
            outlet: Outlet::of(arguments)?,
            stop,
            result: Export {
                complete: false,
                events: 0,
                lost_events: 0,
                released_events: 0,
                shards: Vec::new(),
                error: None,
            },
            waiting: 0,
            taken: None,
        })
    }

    async fn copy_all(&mut self, site: &Site, parts: Vec<Part>) -> Result<(), MaintenanceError> {
        // Where each stands before anything is tried: a failure must not hide the others.
        let begun = parts.iter().map(|part| Reached {
            shard: part.shard,
            file: None,
            next: part.first_event,
        });
        self.result.shards = begun.collect();
        for (index, part) in parts.into_iter().enumerate() {
            self.copy(site, index, part).await?;
        }
        Ok(())
    }

    async fn copy(
        &mut self,
        site: &Site,
        index: usize,
        part: Part,
    ) -> Result<(), MaintenanceError> {
        let meter = Meter::begin("export", part.list.bytes_from(part.begin));
        let mut walk = Walk::new(&self.ground, site, part.shard, part.list, part.begin);
        let mut next = part.begin.event;
        self.result.released_events += next.saturating_sub(part.first_event);
        while next < part.until {
            match walk.next().await? {
                Step::Block(block, behind) => {
                    let range = (part.first_event, part.until);
                    self.copy_block(index, &block, range).await?;
                    meter.add(block.payload.len() as u64, u64::from(block.event_count));
                    next = behind.event;
                }
                Step::Lost(lost) => {
                    let end = (next + lost.events).min(part.until);
                    self.result.lost_events += end.saturating_sub(next.max(part.first_event));
                    next += lost.events;
                }
                Step::Released { to, .. } => {
                    let begin = next.max(part.first_event);
                    self.result.released_events += to.event.saturating_sub(begin);
                    next = to.event;
                }
                Step::End => break,
            }
        }
        self.flush().await?;
        // What was lost or released behind the last copied event is passed, too.
        let reached = &mut self.result.shards[index];
        reached.next = reached.next.max(next.min(part.until));
        Ok(())
    }

    async fn copy_block(
        &mut self,
        index: usize,
        block: &Block,
        (first, until): (u64, u64),
    ) -> Result<(), MaintenanceError> {
        let shard = self.result.shards[index].shard;
        let mut number = block.first_event;
        let mut offset = 0;
        loop {
            let record = match block.record_at(offset) {
                Ok(Some(record)) => record,
                Ok(None) => return Ok(()),
                // The checksum held, so this is a defect of the writer; the rest of the block is lost.
                Err(_) => {
                    let end = block.first_event + u64::from(block.event_count);
                    self.result.lost_events += end.min(until).saturating_sub(number.max(first));
                    return Ok(());
                }
            };
            offset = record.next_offset;
            for event in record.iter() {
                let Ok(event) = event else {
                    self.result.lost_events += 1;
                    break;
                };
                if (first..until).contains(&number) {
                    if self.stop.load(Ordering::Relaxed) {
                        return Err(MaintenanceError::Usage("stopped by a signal".to_owned()));
                    }
                    let has_arrived = self.outlet.take(shard, number, &event).await?;
                    self.waiting += 1;
                    self.taken = Some((index, number + 1));
                    if has_arrived {
                        self.arrived();
                    }
                }
                number += 1;
            }
        }
    }

    /// What was taken so far has arrived.
    fn arrived(&mut self) {
        self.result.events += std::mem::take(&mut self.waiting);
        if let Some((index, next)) = self.taken.take() {
            self.result.shards[index].next = next;
        }
    }

    async fn flush(&mut self) -> Result<(), MaintenanceError> {
        self.outlet.flush().await?;
        self.arrived();
        Ok(())
    }

    async fn copy_files(
        &mut self,
        files: &[PathBuf],
        from: &[(u32, u64)],
        until: &[(u32, u64)],
    ) -> Result<(), MaintenanceError> {
        for path in files {
            let salvage = Salvage::of(&self.ground, path).await?;
            let Some(salvage) = salvage else {
                return Err(MaintenanceError::NotThere(format!(
                    "{}: there is no block in it",
                    path.display()
                )));
            };
            let first = of_shard(from, salvage.shard).unwrap_or(0);
            let end = of_shard(until, salvage.shard).unwrap_or(u64::MAX);
            let index = self.result.shards.len();
            self.result.shards.push(Reached {
                shard: salvage.shard,
                file: Some(path.clone()),
                next: first,
            });
            let bytes = std::fs::metadata(path).map_or(0, |data| data.len());
            let meter = Meter::begin("export", bytes);
            let mut reader = salvage.reader(&self.ground);
            let mut expected: Option<u64> = None;
            while let Found::Block { block, next, .. } = reader.next(u64::MAX).await? {
                let lost = block.first_event - expected.unwrap_or(block.first_event);
                self.result.lost_events += lost;
                self.copy_block(index, &block, (first, end)).await?;
                meter.add(block.payload.len() as u64, u64::from(block.event_count));
                expected = Some(next.event);
            }
            self.flush().await?;
            let reached = &mut self.result.shards[index];
            reached.next = reached.next.max(expected.unwrap_or(0).min(end));
        }
        Ok(())
    }

    async fn end(
        mut self,
        mut error: Option<MaintenanceError>,
    ) -> (Export, Option<MaintenanceError>) {
        // A file keeps what was written before whatever went wrong; a collector was told of nothing.
        if let Outlet::File(_) = self.outlet
            && let Err(failed) = self.flush().await
        {
            error = error.or(Some(failed));
        }
        self.result.complete = error.is_none();
        self.result.error = error.as_ref().map(ToString::to_string);
        (self.result, error)
    }
}

impl fmt::Display for Export {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} events exported", self.events)?;
        if self.lost_events > 0 {
            writeln!(
                f,
                "{} events are lost to damage; flumen wal verify says where",
                self.lost_events
            )?;
        }
        if self.released_events > 0 {
            writeln!(
                f,
                "{} events were released by the running agent: every group has delivered them",
                self.released_events
            )?;
        }
        let all: Vec<String> = self
            .shards
            .iter()
            .map(|reached| match &reached.file {
                Some(file) => format!(
                    "--file {} --from {}:{}",
                    file.display(),
                    reached.shard,
                    reached.next
                ),
                None => format!("--from {}:{}", reached.shard, reached.next),
            })
            .collect();
        write!(f, "to go on from here: {}", all.join(" "))
    }
}
