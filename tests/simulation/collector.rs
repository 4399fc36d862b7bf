//! The collector of a simulated box, wired as `agent` wires the real one, in one thread.

use std::fmt::Write;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use flumen::channel::wal::{
    AppendMeters, Appender, Checkpoint, CheckpointWriter, LogShared, ShardLog, Usage, WalFeed,
    WalPlan, open_shard, shard_folder,
};
use flumen::channel::{Consumer, Feed};
use flumen::config::{AvroSourceConfig, AvroSourceLimits, FileChannelConfig};
use flumen::interceptor::Chain;
use flumen::limits;
use flumen::reactor::Ground;
use flumen::reactor::simulated::SimulatedWorld;
use flumen::selector::Replicating;
use flumen::sink::processor::{DefaultSinkProcessor, SinkRunner};
use flumen::source::avro::{AvroSource, IpFilter, Placement, Stop};
use tokio::sync::{Notify, watch};
use tokio::task::{JoinHandle, spawn_local};

use crate::judge::Judge;
use crate::plan::{Life, Plan};
use crate::sink::SimulatedSink;

/// Shards a plan may have.
const SHARDS_MAX: u32 = 2;
/// What a sink gets to finish when the box is stopped.
const STOP_DEADLINE: Duration = Duration::from_secs(5);

/// Where clients connect to.
pub fn address() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 4_141))
}

/// The checkpoint disk.
pub fn checkpoint_dir() -> PathBuf {
    PathBuf::from("/checkpoint")
}

/// The data disks.
pub fn data_dirs(count: usize) -> Vec<PathBuf> {
    (0..count)
        .map(|number| PathBuf::from(format!("/data-{number}")))
        .collect()
}

/// A running collector.
pub struct Collector {
    logs: Vec<ShardLog>,
    appenders: Vec<Appender<SimulatedWorld>>,
    stop_sources: Stop,
    sources: Vec<JoinHandle<()>>,
    stop_sinks: watch::Sender<bool>,
    sinks: Vec<JoinHandle<()>>,
    stop_writer: watch::Sender<bool>,
    writer: JoinHandle<()>,
}

impl Collector {
    /// Recovers and serves.
    pub async fn start(
        world: &SimulatedWorld,
        plan: &Plan,
        life: &Life,
        judge: &Rc<Judge>,
        healed: bool,
    ) -> Result<Self, String> {
        let directory = checkpoint_dir();
        let created = world.create_directory(&directory).await;
        created.map_err(|error| format!("checkpoint folder: {error}"))?;
        let checkpoint = Checkpoint::load(world, &directory).await;
        let generation = checkpoint.as_ref().map_or(0, |found| found.generation);
        let groups = plan.groups.iter().enumerate();
        let groups: Vec<(String, Arc<Notify>)> = groups
            .map(|(number, _)| (format!("g{number}"), Arc::default()))
            .collect();
        let wal = WalPlan {
            channel: "c".to_owned(),
            file: FileChannelConfig {
                checkpoint_dir: directory.clone(),
                data_dirs: data_dirs(plan.data_dirs),
                checkpoint_interval: plan.checkpoint_interval,
                segment_bytes: plan.segment_bytes,
                minimum_required_space: plan.minimum_required_space,
                capacity_bytes: plan.capacity_bytes,
            },
            shard_count: life.shards,
            transaction_capacity: plan.transaction_capacity,
            keep_alive: plan.keep_alive,
            usage: Arc::new(Usage::new(plan.capacity_events, u64::MAX)),
            checkpoint: Arc::new(checkpoint),
            groups: groups.clone(),
            checkpoint_due: Arc::default(),
        };
        let (mut logs, mut appenders) = (Vec::new(), Vec::new());
        for shard in 0..SHARDS_MAX {
            let serves = shard < life.shards;
            if !serves && !on_disk(world, plan, shard) {
                continue;
            }
            let opened = open_shard(
                world.clone(),
                shard,
                &wal,
                serves.then(AppendMeters::default),
                |_, _| {},
                |_, _| {},
            );
            let (log, appender) = opened.await.map_err(|error| chain(&error))?;
            logs.push(log);
            appenders.extend(appender);
        }
        let (stop_sinks, sinks_stopped) = watch::channel(false);
        let mut sinks = Vec::new();
        for (group, (_, more)) in groups.iter().enumerate() {
            let feeds = logs.iter().map(|log| feed(world, log, group)).collect();
            let consumer = Consumer::new(feeds, Arc::clone(more));
            for number in 0..plan.groups[group] {
                let sink = SimulatedSink {
                    world: world.clone(),
                    group,
                    plan: plan.sink,
                    judge: Rc::clone(judge),
                    healed,
                };
                let processor = DefaultSinkProcessor::new(format!("k{group}-{number}"), sink);
                let stopped = sinks_stopped.clone();
                let runner = SinkRunner::new(processor, consumer.clone(), stopped, STOP_DEADLINE);
                sinks.push(spawn_local(runner.run()));
            }
        }
        let shared: Vec<Arc<LogShared>> = logs.iter().map(|log| Arc::clone(&log.shared)).collect();
        let shards = logs.iter().map(|log| log.entry.clone()).collect();
        let writer = CheckpointWriter::new(
            world.clone(),
            directory,
            "c".to_owned(),
            plan.checkpoint_interval,
            shared,
            Checkpoint { generation, shards },
            Arc::default(),
        );
        let (stop_writer, mut writer_stopped) = watch::channel(false);
        let writer = spawn_local(writer.run(async move {
            writer_stopped.wait_for(|stop| *stop).await.ok();
        }));
        let stop_sources = Stop::default();
        let sources = serve(world, life, &appenders, &stop_sources)?;
        Ok(Self {
            logs,
            appenders,
            stop_sources,
            sources,
            stop_sinks,
            sinks,
            stop_writer,
            writer,
        })
    }

    /// Whether every group has been given everything that is durable.
    pub fn is_drained(&self) -> bool {
        self.logs.iter().all(|log| {
            let end = log.shared.durable_event();
            log.shared.groups.iter().all(|group| group.event() >= end)
        })
    }

    /// How far each group has come in each log, for whoever wonders.
    pub fn progress(&self) -> String {
        let mut text = String::new();
        for log in &self.logs {
            let (shard, end) = (log.shared.shard, log.shared.durable_event());
            let sequence = log.shared.durable_sequence();
            let groups = log.shared.groups.iter();
            let events: Vec<u64> = groups.map(|group| group.event()).collect();
            write!(
                text,
                "shard {shard}: {events:?} of {end} events, {sequence} blocks; "
            )
            .expect("a string takes all");
        }
        text
    }

    /// Sources, then sinks, then the last checkpoint, as the agent stops.
    pub async fn stop(self) {
        self.stop_sources.stop();
        for source in self.sources {
            source.await.expect("a source ends by itself");
        }
        for appender in &self.appenders {
            appender.close().await;
        }
        self.stop_sinks.send_replace(true);
        for sink in self.sinks {
            sink.await.expect("a runner ends by itself");
        }
        self.stop_writer.send_replace(true);
        self.writer.await.expect("the writer ends by itself");
    }
}

fn serve(
    world: &SimulatedWorld,
    life: &Life,
    appenders: &[Appender<SimulatedWorld>],
    stop: &Stop,
) -> Result<Vec<JoinHandle<()>>, String> {
    let bounds = AvroSourceLimits {
        frame_bytes_max: limits::FRAME_BYTES_MAX,
        batch_events_max: limits::BATCH_EVENTS_MAX,
        event_bytes_max: limits::EVENT_BYTES_MAX,
        connections_max: limits::CONNECTIONS_MAX,
        connections_per_peer_max: limits::CONNECTIONS_PER_PEER_MAX,
        handshake_deadline: limits::HANDSHAKE_DEADLINE,
        progress_deadline: limits::PROGRESS_DEADLINE,
    };
    let filter = IpFilter::new(&[]).map_err(|error| error.to_string())?;
    let placement = Placement::new(life.shards as usize, filter, &bounds);
    let mut sources = Vec::new();
    for (shard, appender) in appenders.iter().enumerate() {
        let source = AvroSource {
            world: world.clone(),
            shard,
            name: "r".to_owned(),
            config: AvroSourceConfig {
                address: address(),
                bind: "0.0.0.0".to_owned(),
                deflate: false,
                ip_filter: Vec::new(),
                limits: bounds,
            },
            chain: Chain::new(&[]),
            channels: Replicating {
                required: vec![Rc::new(appender.clone())],
                optional: Vec::new(),
            },
            counters: Arc::default(),
            ack_latency: None,
            placement: Arc::clone(&placement),
            stop: stop.clone(),
        };
        let listening = source.listen().map_err(|error| error.to_string())?;
        sources.push(spawn_local(listening.serve()));
    }
    Ok(sources)
}

fn on_disk(world: &SimulatedWorld, plan: &Plan, shard: u32) -> bool {
    let folders = data_dirs(plan.data_dirs);
    let folders: Vec<PathBuf> = folders
        .iter()
        .map(|data| shard_folder(data, shard))
        .collect();
    let paths = world.disk().paths();
    paths
        .iter()
        .any(|path| folders.iter().any(|folder| path.starts_with(folder)))
}

fn feed(world: &SimulatedWorld, log: &ShardLog, group: usize) -> Box<dyn Feed> {
    let feed = WalFeed::new(
        world.clone(),
        "c",
        Arc::clone(&log.shared),
        Arc::clone(&log.shared.groups[group]),
        log.cursors[group].1,
        Arc::clone(&log.counters),
    );
    Box::new(feed)
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}
