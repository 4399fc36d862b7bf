//! A drain thread: consumer groups, their sinks, and the checkpoints of their channels.
//!
//! One tokio-uring runtime on one thread from start to stop. A consumer group lives on exactly one
//! drain thread, so its cursor has one owner; a channel's checkpoint is written by the thread of its
//! first group.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::mpsc;
use std::time::Duration;

use tokio::sync::{Notify, watch};

use super::sinks::{SinkGround, run_sink};
use crate::admin::Health;
use crate::channel::wal::{Checkpoint, CheckpointWriter, LogShared, WalFeed};
use crate::channel::{Consumer, DeliveredTo, Feed, MemoryFeed};
use crate::config::SinkConfig;
use crate::metrics::{ChannelCounters, Registry, WalCounters, lifecycle};
use crate::reactor::{Clock, DrainWorld};

/// One shard's log as a drain thread needs it.
#[derive(Debug, Clone)]
pub(super) struct LogJob {
    pub(super) log: Arc<LogShared>,
    /// This group's place among the log's groups.
    pub(super) group_index: usize,
    /// Where the group stands; none for memory.
    pub(super) start: Option<(DeliveredTo, Arc<WalCounters>)>,
}

/// One consumer group.
#[derive(Debug)]
pub(super) struct GroupJob {
    pub(super) channel: String,
    pub(super) logs: Vec<LogJob>,
    pub(super) more: Arc<Notify>,
    pub(super) counters: Arc<ChannelCounters>,
    pub(super) sinks: Vec<SinkConfig>,
}

/// One file channel's checkpoint.
#[derive(Debug)]
pub(super) struct CheckpointJob {
    pub(super) channel: String,
    pub(super) directory: PathBuf,
    pub(super) interval: Duration,
    pub(super) logs: Vec<Arc<LogShared>>,
    pub(super) current: Checkpoint,
    pub(super) counters: Arc<ChannelCounters>,
}

/// Everything one drain thread does.
#[derive(Debug)]
pub(super) struct DrainJob {
    pub(super) index: usize,
    pub(super) core: Option<usize>,
    pub(super) groups: Vec<GroupJob>,
    pub(super) checkpoints: Vec<CheckpointJob>,
    pub(super) state_dirs: BTreeMap<String, PathBuf>,
    pub(super) stop: watch::Receiver<bool>,
    pub(super) stop_deadline: Duration,
    pub(super) registry: Arc<Registry>,
    pub(super) health: Arc<Health>,
    /// Told once when the sinks have been started.
    pub(super) started: mpsc::Sender<()>,
}

/// Starts the thread. It ends when its sinks have stopped and the last checkpoint is written.
pub(super) fn spawn(job: DrainJob) -> std::io::Result<std::thread::JoinHandle<()>> {
    let name = format!("drain-{}", job.index);
    std::thread::Builder::new().name(name).spawn(move || {
        if let Some(core) = job.core {
            core_affinity::set_for_current(core_affinity::CoreId { id: core });
        }
        tokio_uring::start(run(job));
    })
}

async fn run(job: DrainJob) {
    let world = DrainWorld::default();
    let heartbeat = job.health.heartbeat(format!("drain-{}", job.index));
    let ground = SinkGround {
        world: world.clone(),
        stop: job.stop.clone(),
        stop_deadline: job.stop_deadline,
        state_dirs: Rc::new(job.state_dirs),
    };
    let mut runners = Vec::new();
    for group in job.groups {
        let consumer = consumer_of(&world, &group);
        for sink in group.sinks {
            let metrics = job.registry.sink(&sink.name);
            let registry = Arc::clone(&job.registry);
            let counters = Arc::clone(&metrics.counters);
            let run = run_sink(sink.clone(), consumer.clone(), counters, ground.clone());
            runners.push(tokio_uring::spawn(async move {
                lifecycle::sink_started(&registry, &sink.name, Clock::wall_ms());
                run.await;
                lifecycle::sink_stopped(&registry, &sink.name, Clock::wall_ms());
            }));
        }
    }
    let (writers_stop, writers_stopped) = watch::channel(false);
    let mut writers = Vec::new();
    for checkpoint in job.checkpoints {
        let mut stopped = writers_stopped.clone();
        let writer = CheckpointWriter::new(
            world.clone(),
            checkpoint.directory,
            checkpoint.channel,
            checkpoint.interval,
            checkpoint.logs,
            checkpoint.current,
            checkpoint.counters,
        );
        writers.push(tokio_uring::spawn(writer.run(async move {
            // A sender that is gone means the same.
            stopped.wait_for(|stop| *stop).await.ok();
        })));
    }
    // The main thread may have given up already; then the stop signal follows.
    job.started.send(()).ok();
    drop(job.started);
    let beats = tokio_uring::spawn(async move {
        loop {
            heartbeat.beat();
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    });
    for runner in runners {
        if let Err(error) = runner.await {
            tracing::error!("a sink runner ended: {error}");
        }
    }
    let mut stop = job.stop;
    stop.wait_for(|stop| *stop).await.ok();
    // The cursors of the last commits go to disk, so that nothing is delivered twice.
    writers_stop.send(true).ok();
    for writer in writers {
        if let Err(error) = writer.await {
            tracing::error!("a checkpoint writer ended: {error}");
        }
    }
    beats.abort();
}

fn consumer_of(world: &DrainWorld, group: &GroupJob) -> Consumer {
    let feed = |job: &LogJob| -> Box<dyn Feed> {
        let log = Arc::clone(&job.log);
        let link = Arc::clone(&log.groups[job.group_index]);
        match &job.start {
            Some((start, counters)) => Box::new(WalFeed::new(
                world.clone(),
                &group.channel,
                log,
                link,
                *start,
                Arc::clone(counters),
            )),
            None => Box::new(MemoryFeed::new(log, link)),
        }
    };
    let feeds = group.logs.iter().map(feed).collect();
    Consumer::with_counters(feeds, Arc::clone(&group.more), Arc::clone(&group.counters))
}
