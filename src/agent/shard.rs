//! A shard thread: one executor with its logs, its channels and its part of every source.
//!
//! Lives from start to stop. The main thread moves it through its [`Stage`]s; it answers each with a
//! [`Report`].

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;
use std::time::Duration;

use glommio::{LocalExecutorBuilder, Placement as CorePlacement, PoolPlacement};
use tokio::sync::{mpsc as tasks, watch};

use super::put::ChannelPut;
use super::topology::Runtime;
use crate::admin::{Health, ProgressBoard, Unit};
use crate::channel::wal::{AppendMeters, LogShared, ShardLog, WalPlan, open_shard};
use crate::channel::{MemoryPut, PutError};
use crate::config::{SourceConfig, SourceKind};
use crate::interceptor::Chain;
use crate::metrics::{Recorder, Registry};
use crate::reactor::{ShardWorld, World, run_ring};
use crate::selector::Replicating;
use crate::source::avro::{AvroSource, Placement, Stop};

/// Memory registered with a glommio shard's ring: block buffers come from here while they last.
const RING_MEMORY_BYTES: usize = 48 << 20;
/// How often a shard shows that it runs and whether its channels take batches.
const BEAT_EVERY: Duration = Duration::from_millis(500);

/// Where the main thread wants the shards to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Stage {
    /// Recover the logs.
    Recover,
    /// Accept connections.
    Serve,
    /// Accept no more; answer what was put.
    StopSources,
    /// Close the channels and end.
    Close,
}

/// What a shard tells the main thread.
#[derive(Debug)]
pub(super) enum Report {
    /// Its logs are open: place of the channel, log.
    Recovered { logs: Vec<(usize, ShardLog)> },
    /// Its listeners accept.
    Serving,
    /// Its last connection is answered and closed.
    SourcesStopped,
    /// It cannot start.
    Failed {
        shard: usize,
        text: String,
        exit_code: u8,
    },
}

/// One channel on one shard.
#[derive(Debug)]
pub(super) enum ChannelJob {
    File {
        name: String,
        plan: WalPlan,
        drained_only: Vec<u32>,
    },
    Memory {
        name: String,
        transaction_capacity: usize,
        keep_alive: Duration,
        log: Arc<LogShared>,
    },
}

/// Everything one shard does.
#[derive(Debug)]
pub(super) struct ShardJob {
    pub(super) index: usize,
    pub(super) core: Option<usize>,
    pub(super) runtime: Runtime,
    pub(super) channels: Vec<ChannelJob>,
    pub(super) sources: Vec<SourceConfig>,
    pub(super) placement: BTreeMap<String, Arc<Placement>>,
    pub(super) stage: watch::Receiver<Stage>,
    pub(super) report: mpsc::Sender<Report>,
    pub(super) registry: Arc<Registry>,
    pub(super) health: Arc<Health>,
    pub(super) board: Arc<ProgressBoard>,
}

impl ShardJob {
    /// Threads for directory work: a disk that hangs may hold two, for the segment that is opened
    /// and the spare that is written, and the others must not wait for it.
    fn blocking_threads(&self) -> usize {
        let disks = self.channels.iter().map(|channel| match channel {
            ChannelJob::Memory { .. } => 0,
            ChannelJob::File { plan, .. } => plan.file.data_dirs.len(),
        });
        1 + 2 * disks.sum::<usize>()
    }
}

/// Starts the thread.
pub(super) fn spawn(job: ShardJob) -> std::io::Result<JoinHandle<()>> {
    let name = format!("shard-{}", job.index);
    std::thread::Builder::new()
        .name(name.clone())
        .spawn(move || {
            let (shard, report) = (job.index, job.report.clone());
            let ran = match job.runtime {
                Runtime::Ring => on_ring(job),
                Runtime::Glommio => on_glommio(job, &name),
            };
            if let Err(error) = ran {
                let text = format!("the executor cannot be made: {error}");
                tell(
                    &report,
                    Report::Failed {
                        shard,
                        text,
                        exit_code: 71,
                    },
                );
            }
        })
}

fn on_ring(job: ShardJob) -> std::io::Result<()> {
    if let Some(core) = job.core {
        core_affinity::set_for_current(core_affinity::CoreId { id: core });
    }
    run_ring(|world| run(world, job))
}

fn on_glommio(job: ShardJob, name: &str) -> std::io::Result<()> {
    let placement = job
        .core
        .map_or(CorePlacement::Unbound, CorePlacement::Fixed);
    let executor = LocalExecutorBuilder::new(placement)
        .name(name)
        .io_memory(RING_MEMORY_BYTES)
        .blocking_thread_pool_placement(PoolPlacement::Unbound(job.blocking_threads()))
        .make()?;
    executor.run(async move { run(ShardWorld::new(), job).await });
    Ok(())
}

/// The main thread may be gone already; then its stage says so next.
fn tell(report: &mpsc::Sender<Report>, what: Report) {
    report.send(what).ok();
}

async fn run<W: World>(world: W, mut job: ShardJob) {
    let puts = match open_channels(&world, &mut job).await {
        Ok((puts, logs)) => {
            tell(&job.report, Report::Recovered { logs });
            puts
        }
        Err(text) => {
            let (shard, exit_code) = (job.index, 74);
            return tell(
                &job.report,
                Report::Failed {
                    shard,
                    text,
                    exit_code,
                },
            );
        }
    };
    world.spawn(beat(world.clone(), puts.clone(), &job));
    if reached(&mut job.stage, Stage::Serve).await == Stage::Serve {
        serve(&world, &puts, &mut job).await;
    }
    reached(&mut job.stage, Stage::Close).await;
    for (_, put) in &puts {
        put.close().await;
    }
}

/// Waits for `stage` or a later one.
async fn reached(stages: &mut watch::Receiver<Stage>, stage: Stage) -> Stage {
    // A main thread that is gone means the end.
    stages
        .wait_for(|now| *now >= stage)
        .await
        .map_or(Stage::Close, |now| *now)
}

/// Starts this shard's part of every source; returns when all are stopped.
async fn serve<W: World>(world: &W, puts: &[NamedPut<W>], job: &mut ShardJob) {
    let stop = Stop::default();
    // Every source that serves holds a sender; the last one to end closes the channel.
    let (serves, mut all_ended) = tasks::channel::<()>(1);
    let ack_latency = job.registry.shards()[job.index].ack_latency.recorder();
    let ack_latency = Rc::new(RefCell::new(ack_latency));
    for source in &job.sources {
        let listening = source_of(world, puts, job, source, &ack_latency, &stop).listen();
        match listening {
            Ok(listening) => {
                let serves = serves.clone();
                world.spawn(async move {
                    listening.serve().await;
                    drop(serves);
                });
            }
            Err(error) => {
                let (shard, text) = (job.index, chain_of(&error));
                tell(
                    &job.report,
                    Report::Failed {
                        shard,
                        text,
                        exit_code: 78,
                    },
                );
            }
        }
    }
    tell(&job.report, Report::Serving);
    reached(&mut job.stage, Stage::StopSources).await;
    stop.stop();
    drop(serves);
    all_ended.recv().await;
    tell(&job.report, Report::SourcesStopped);
}

fn source_of<W: World>(
    world: &W,
    puts: &[NamedPut<W>],
    job: &ShardJob,
    source: &SourceConfig,
    ack_latency: &Rc<RefCell<Recorder>>,
    stop: &Stop,
) -> AvroSource<W, ChannelPut<W>> {
    let SourceKind::Avro(config) = &source.kind;
    let channels = |names: &[String]| {
        let put = |name: &String| {
            let found = puts.iter().find(|(known, _)| **known == **name);
            let (_, put) = found.expect("the configuration names channels that exist");
            Rc::new(put.clone())
        };
        names.iter().map(put).collect()
    };
    AvroSource {
        world: world.clone(),
        shard: job.index,
        name: source.name.clone(),
        config: config.clone(),
        chain: Chain::new(&source.interceptors),
        channels: Replicating {
            required: channels(&source.required_channels),
            optional: channels(&source.optional_channels),
        },
        counters: job.registry.source(&source.name).counters(job.index),
        ack_latency: Some(Rc::clone(ack_latency)),
        placement: Arc::clone(&job.placement[&source.name]),
        stop: stop.clone(),
    }
}

type NamedPut<W> = (Rc<str>, ChannelPut<W>);
type NamedLogs = Vec<(usize, ShardLog)>;

async fn open_channels<W: World>(
    world: &W,
    job: &mut ShardJob,
) -> Result<(Vec<NamedPut<W>>, NamedLogs), String> {
    let (mut puts, mut logs) = (Vec::new(), Vec::new());
    let shard = u32::try_from(job.index).expect("at most 256 shards");
    for (place, channel) in job.channels.iter().enumerate() {
        match channel {
            ChannelJob::Memory {
                name,
                transaction_capacity,
                keep_alive,
                log,
            } => {
                let shown = job.registry.channel(name).shard(job.index);
                let put = MemoryPut::new(
                    world.clone(),
                    name,
                    *transaction_capacity,
                    *keep_alive,
                    Arc::clone(log),
                    Arc::clone(&shown.counters),
                    Arc::clone(&shown.committed_bytes),
                );
                puts.push((Rc::from(name.as_str()), ChannelPut::Memory(put)));
            }
            ChannelJob::File {
                name,
                plan,
                drained_only,
            } => {
                let shown = job.registry.channel(name).shard(job.index);
                let meters = AppendMeters {
                    puts: Arc::clone(&shown.counters),
                    flush_latency: shown.flush_latency.recorder(),
                    block_bytes: shown.block_bytes.recorder(),
                    committed_bytes: Arc::clone(&shown.committed_bytes),
                    gauges: Arc::clone(&shown.log),
                };
                for (shard, meters) in std::iter::once((shard, Some(meters)))
                    .chain(drained_only.iter().map(|shard| (*shard, None)))
                {
                    let what = format!("channel {name}, shard {shard}: recovering the log");
                    let recovery = job.board.begin(what, Unit::Bytes, 0);
                    let mut before = 0;
                    let recovered = |done: u64, total: u64| {
                        recovery.set_total(total);
                        recovery.add(done - before);
                        before = done;
                    };
                    let mut writing = None;
                    let mut before_writing = 0;
                    let prewritten = |done: u64, total: u64| {
                        let what = format!("channel {name}, shard {shard}: writing segments");
                        let progress = writing
                            .get_or_insert_with(|| job.board.begin(what, Unit::Bytes, total));
                        progress.add(done - before_writing);
                        before_writing = done;
                    };
                    let opened =
                        open_shard(world.clone(), shard, plan, meters, recovered, prewritten).await;
                    recovery.finish();
                    if let Some(progress) = writing {
                        progress.finish();
                    }
                    let (log, appender) = opened.map_err(|error| chain_of(&error))?;
                    logs.push((place, log));
                    if let Some(appender) = appender {
                        puts.push((Rc::from(name.as_str()), ChannelPut::File(appender)));
                    }
                }
            }
        }
    }
    Ok((puts, logs))
}

/// An error with its causes, in one line.
fn chain_of(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

/// Shows that the shard runs, and whether its channels take batches.
fn beat<W: World>(
    world: W,
    puts: Vec<NamedPut<W>>,
    job: &ShardJob,
) -> impl Future<Output = ()> + use<W> {
    let heartbeat = job.health.heartbeat(format!("shard-{}", job.index));
    let busy_ns = Arc::clone(&job.registry.shards()[job.index].busy_ns);
    let (health, registry, shard) = (
        Arc::clone(&job.health),
        Arc::clone(&job.registry),
        job.index,
    );
    async move {
        let mut refused_before = vec![false; puts.len()];
        loop {
            heartbeat.beat();
            let busy = world.busy();
            busy_ns.add(u64::try_from(busy.as_nanos()).unwrap_or(u64::MAX));
            for ((name, put), refused_before) in puts.iter().zip(&mut refused_before) {
                let refusal = put.refusal();
                if refusal.is_some() == *refused_before {
                    continue;
                }
                *refused_before = refusal.is_some();
                let key = format!("channel {name} shard {shard}");
                let unhealthy = matches!(refusal, Some(PutError::Device { .. }));
                registry
                    .channel(name)
                    .shard(shard)
                    .log
                    .unhealthy
                    .set(u64::from(unhealthy));
                match refusal {
                    Some(reason) => health.set_unready(&key, reason.to_string()),
                    None => health.clear_unready(&key),
                }
            }
            world.sleep(BEAT_EVERY).await;
        }
    }
}
