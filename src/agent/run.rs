//! The life of an agent, in order: start what holds events, then what takes them out, then what
//! brings them in; stop the other way round.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;
use std::time::Duration;

use signal_hook::consts::SIGXFSZ;
use tokio::sync::{Notify, watch};

use super::drain::{self, CheckpointJob, DrainJob, GroupJob, LogJob};
use super::preflight::{PreflightError, preflight};
use super::sampler::{SampledChannel, sample};
use super::shard::{self, ChannelJob, Report, ShardJob, Stage};
use super::stop_signals::StopSignals;
use super::topology::Topology;
use crate::admin::log::{LogError, LogGuard, LogSettings};
use crate::admin::{
    self, AdminHandle, AdminSettings, AdminSettingsError, Console, Health, Phase, ProgressBoard,
};
use crate::channel::wal::{
    Checkpoint, DirectoryLock, LockError, LogShared, RosterError, ShardLog, Usage, WalPlan,
    call_the_roll, shards_on_disk,
};
use crate::config::{
    AgentConfig, AgentOptions, ChannelConfig, ChannelKind, FileChannelConfig, SinkKind, SourceKind,
};
use crate::metrics::{self, Registry, lifecycle};
use crate::reactor::{Clock, DrainWorld};
use crate::source::avro::{IpFilter, Placement};

/// From the stop signal to the end of the process.
const STOP_DEADLINE: Duration = Duration::from_secs(30);
/// What a sink may take to finish its transaction.
const SINK_STOP_DEADLINE: Duration = Duration::from_secs(10);
/// A flumen that was killed holds its ports until the kernel has taken its ring apart, which can be
/// after the process is gone.
const PORT_PATIENCE: Duration = Duration::from_secs(3);
const PORT_RETRY: Duration = Duration::from_millis(20);
/// How often gauges are brought up to date.
const SAMPLE_EVERY: Duration = Duration::from_millis(250);

/// Why the agent did not start.
#[derive(Debug, thiserror::Error)]
enum StartError {
    #[error(transparent)]
    Preflight(#[from] PreflightError),
    #[error(transparent)]
    Lock(#[from] LockError),
    #[error(transparent)]
    Roster(#[from] RosterError),
    #[error(transparent)]
    Admin(#[from] AdminSettingsError),
    #[error("{0}")]
    Property(String),
    #[error(
        "source {name}: listening at {address} failed: {source}. Stop what listens there, or give the \
         source a bind and port of its own"
    )]
    Port {
        name: String,
        address: SocketAddr,
        source: std::io::Error,
    },
    #[error("{what}: {source}")]
    System {
        what: &'static str,
        source: std::io::Error,
    },
    #[error("{text}")]
    Shard { text: String, exit_code: u8 },
    #[error("Stopped by a signal while starting")]
    Stopped,
}

impl StartError {
    fn exit_code(&self) -> u8 {
        match self {
            Self::Preflight(error) => error.exit_code(),
            // A configuration that cannot work here: EX_CONFIG.
            Self::Lock(_) | Self::Admin(_) | Self::Property(_) | Self::Port { .. } => 78,
            Self::System { .. } => 71,
            // A disk that is not there, as one that is dead: EX_IOERR.
            Self::Roster(_) => 74,
            Self::Shard { exit_code, .. } => *exit_code,
            Self::Stopped => 0,
        }
    }
}

/// Runs an agent until a signal ends it, also one that came before.
#[must_use]
pub fn run(options: AgentOptions, signals: StopSignals) -> ExitCode {
    run_and_tell(options, signals, |_| {})
}

/// The same; `on_started` is called once, when everything runs, with the admin address. It must not
/// block: signals are looked at after it.
pub(super) fn run_and_tell(
    options: AgentOptions,
    signals: StopSignals,
    on_started: impl FnOnce(SocketAddr),
) -> ExitCode {
    let console = Console::stderr();
    let _log: LogGuard = match start_log(&options, &console) {
        Ok(guard) => guard,
        Err(error) => {
            eprintln!("flumen: the log cannot be started: {error}");
            return ExitCode::from(73);
        }
    };
    match Agent::start(&options, console, signals) {
        Ok(mut agent) => {
            if let Some(admin) = &agent.admin {
                on_started(admin.address());
            }
            agent.run()
        }
        Err(stopped @ StartError::Stopped) => {
            tracing::info!("{stopped}");
            ExitCode::from(stopped.exit_code())
        }
        Err(error) => {
            tracing::error!("A fatal error occurred while running. Exception follows.\n{error}");
            ExitCode::from(error.exit_code())
        }
    }
}

fn start_log(options: &AgentOptions, console: &Console) -> Result<LogGuard, LogError> {
    let property = |key: &str| options.properties.get(key).map(String::as_str);
    admin::log::start(&LogSettings::from_properties(property), console)
}

/// A running agent.
struct Agent {
    config: AgentConfig,
    registry: Arc<Registry>,
    health: Arc<Health>,
    admin: Option<AdminHandle>,
    signals: StopSignals,
    stage: watch::Sender<Stage>,
    reports: mpsc::Receiver<Report>,
    shards: Vec<JoinHandle<()>>,
    drains: Vec<JoinHandle<()>>,
    drain_stop: watch::Sender<bool>,
    sampled: Vec<SampledChannel>,
    clock: Clock,
    _locks: Vec<DirectoryLock>,
}

/// One channel while it is being put together.
struct ChannelParts {
    config: ChannelConfig,
    groups: Vec<(String, Arc<Notify>)>,
    usage: Arc<Usage>,
    checkpoint: Option<Checkpoint>,
    checkpoint_due: Arc<Notify>,
    memory: Vec<Arc<LogShared>>,
    recovered: Vec<ShardLog>,
}

impl Agent {
    fn start(
        options: &AgentOptions,
        console: Console,
        signals: StopSignals,
    ) -> Result<Self, StartError> {
        let config = options.agent.clone();
        let clock = Clock::new();
        // A limit on file sizes is an error of the write that meets it, not the end of the process.
        signal_hook::flag::register(SIGXFSZ, Arc::default()).map_err(|source| {
            StartError::System {
                what: "installing signal handlers",
                source,
            }
        })?;
        let topology = Topology::choose(&options.properties).map_err(StartError::Property)?;
        let health = Health::new();
        health.enter(Phase::Preflight);
        preflight(topology.shards.len(), &data_dirs(&config))?;
        let locks = lock_directories(&config)?;
        call_the_rolls(&config)?;
        check_ports(&config, &clock)?;
        let mut channels: Vec<ChannelParts> = config
            .channels
            .iter()
            .map(|channel| ChannelParts::of(channel, &config))
            .collect();

        // Shards of an earlier, larger agent are drained too: they count as shards everywhere.
        let shard_count = topology.shards.len();
        let folders = channels
            .iter()
            .filter_map(|parts| parts.file())
            .flat_map(|file| {
                shards_on_disk(&file.data_dirs)
                    .into_iter()
                    .map(|shard| shard as usize + 1)
            });
        let shards_known = folders.max().unwrap_or(0).max(shard_count);
        let registry = build_registry(&config, &channels, shards_known, topology.drains.len());
        let board = ProgressBoard::new(console);
        let property = |key: &str| options.properties.get(key).map(String::as_str);
        let settings = AdminSettings::from_properties(property)?;
        let admin = admin::start(
            &settings,
            Arc::clone(&registry),
            Arc::clone(&health),
            Arc::clone(&board),
        )
        .map_err(|source| StartError::System {
            what: "starting the admin server",
            source,
        })?;

        health.enter(Phase::Recovering);
        let (stage, stage_seen) = watch::channel(Stage::Recover);
        let (report, reports) = mpsc::channel();
        let mut placement = BTreeMap::new();
        for source in &config.sources {
            let SourceKind::Avro(avro) = &source.kind;
            let filter = IpFilter::new(&avro.ip_filter).map_err(|error| {
                StartError::Property(format!("source {}: ipFilterRules: {error}", source.name))
            })?;
            let placed = Placement::new(shard_count, filter, &avro.limits);
            placement.insert(source.name.clone(), placed);
        }
        for parts in &mut channels {
            parts.make_memory(shard_count);
        }
        let mut shards = Vec::new();
        for (index, core) in topology.shards.iter().enumerate() {
            let job = ShardJob {
                index,
                core: *core,
                runtime: topology.runtime,
                channels: channels
                    .iter()
                    .map(|parts| parts.job(index, shard_count, shards_known))
                    .collect(),
                sources: config.sources.clone(),
                placement: placement.clone(),
                stage: stage_seen.clone(),
                report: report.clone(),
                registry: Arc::clone(&registry),
                health: Arc::clone(&health),
                board: Arc::clone(&board),
            };
            shards.push(shard::spawn(job).map_err(|error| StartError::Shard {
                text: format!("shard {index} cannot be started: {error}"),
                exit_code: 71,
            })?);
        }
        drop(report);
        let mut agent = Self {
            config,
            registry,
            health,
            admin: Some(admin),
            signals,
            stage,
            reports,
            shards,
            drains: Vec::new(),
            drain_stop: watch::Sender::new(false),
            sampled: Vec::new(),
            clock,
            _locks: locks,
        };
        agent
            .bring_up(&mut channels, &topology)
            .inspect_err(|_| agent.abandon())?;
        Ok(agent)
    }

    /// Channels, then sinks, then sources, as Flume starts them.
    fn bring_up(
        &mut self,
        channels: &mut [ChannelParts],
        topology: &Topology,
    ) -> Result<(), StartError> {
        for channel in &self.config.channels {
            tracing::info!("Starting Channel {}", channel.name);
        }
        for report in self.wait_for_all(topology.shards.len())? {
            if let Report::Recovered { logs, .. } = report {
                for (channel, log) in logs {
                    channels[channel].recovered.push(log);
                }
            }
        }
        for parts in channels.iter_mut() {
            parts.recovered.sort_by_key(|log| log.entry.shard);
            self.sampled.push(parts.sampled());
            let metrics = self.registry.channel(&parts.config.name);
            for shard in metrics.shards() {
                shard.log.open.set(1);
            }
        }
        sample(&self.registry, &self.sampled);
        for channel in &self.config.channels {
            lifecycle::channel_started(&self.registry, &channel.name, Clock::wall_ms());
        }
        self.health.enter(Phase::Starting);
        self.start_drains(channels, topology)?;
        for source in &self.config.sources {
            tracing::info!("Starting Source {}", source.name);
        }
        self.stage.send_replace(Stage::Serve);
        self.wait_for_all(topology.shards.len())?;
        for source in &self.config.sources {
            lifecycle::source_started(&self.registry, &source.name, Clock::wall_ms());
        }
        self.health.enter(Phase::Running);
        Ok(())
    }

    fn start_drains(
        &mut self,
        channels: &[ChannelParts],
        topology: &Topology,
    ) -> Result<(), StartError> {
        let (started, all_started) = mpsc::channel();
        let mut jobs: Vec<DrainJob> = topology
            .drains
            .iter()
            .enumerate()
            .map(|(index, core)| DrainJob {
                index,
                core: *core,
                groups: Vec::new(),
                checkpoints: Vec::new(),
                state_dirs: state_dirs(&self.config),
                stop: self.drain_stop.subscribe(),
                stop_deadline: SINK_STOP_DEADLINE,
                registry: Arc::clone(&self.registry),
                health: Arc::clone(&self.health),
                started: started.clone(),
            })
            .collect();
        let mut turn = 0;
        for parts in channels {
            let first = turn;
            for (group_index, (group, more)) in parts.groups.iter().enumerate() {
                let metrics = self.registry.channel(&parts.config.name).group(group);
                let sinks = self.config.sinks.iter();
                let sinks = sinks.filter(|sink| {
                    sink.channel == parts.config.name
                        && sink.group.as_deref().unwrap_or_default() == group
                });
                let thread = turn % jobs.len();
                jobs[thread].groups.push(GroupJob {
                    channel: parts.config.name.clone(),
                    logs: parts.log_jobs(group_index),
                    more: Arc::clone(more),
                    counters: Arc::clone(&metrics.counters),
                    sinks: sinks.cloned().collect(),
                });
                turn += 1;
            }
            if let Some(job) = parts.checkpoint_job(&self.registry) {
                let thread = first % jobs.len();
                jobs[thread].checkpoints.push(job);
            }
        }
        for job in jobs {
            let drain = drain::spawn(job).map_err(|source| StartError::System {
                what: "starting a drain thread",
                source,
            })?;
            self.drains.push(drain);
        }
        drop(started);
        for _ in &self.drains {
            // A drain thread that dies drops its sender.
            if all_started.recv().is_err() {
                let source = std::io::Error::other("it ended at once");
                return Err(StartError::System {
                    what: "starting a drain thread",
                    source,
                });
            }
        }
        Ok(())
    }

    /// One report of each shard.
    fn wait_for_all(&mut self, count: usize) -> Result<Vec<Report>, StartError> {
        let mut reports = Vec::new();
        while reports.len() < count {
            if self.signals.pending().is_some() {
                return Err(StartError::Stopped);
            }
            match self.reports.recv_timeout(SAMPLE_EVERY) {
                Ok(Report::Failed {
                    shard,
                    text,
                    exit_code,
                }) => {
                    let text = format!("shard {shard}: {text}");
                    return Err(StartError::Shard { text, exit_code });
                }
                Ok(report) => reports.push(report),
                Err(mpsc::RecvTimeoutError::Timeout) => {}
                Err(mpsc::RecvTimeoutError::Disconnected) => {
                    let text = "a shard ended without a word".to_owned();
                    return Err(StartError::Shard {
                        text,
                        exit_code: 70,
                    });
                }
            }
        }
        Ok(reports)
    }

    /// Serves until a signal comes, then stops in order.
    fn run(&mut self) -> ExitCode {
        loop {
            if let Some(signal) = self.signals.pending() {
                tracing::info!("Signal {signal}: stopping");
                break;
            }
            sample(&self.registry, &self.sampled);
            #[expect(clippy::disallowed_methods, reason = "the main thread is no core's")]
            std::thread::sleep(SAMPLE_EVERY);
        }
        let code = self.stop();
        self.health.enter(Phase::Stopped);
        if let Some(admin) = self.admin.take() {
            admin.stop();
        }
        code
    }

    /// Sources, sinks, channels. A second signal, or the deadline, ends the process where it stands:
    /// everything acknowledged is in the log by then, and is delivered after the next start.
    fn stop(&mut self) -> ExitCode {
        self.health.enter(Phase::Stopping);
        let deadline = self.clock.now() + STOP_DEADLINE;
        self.stage.send_replace(Stage::StopSources);
        let shard_count = self.shards.len();
        let stopped = self.wait_while(deadline, |agent, seen| {
            let reports = agent.reports.try_iter().count();
            *seen += reports;
            *seen < shard_count
        });
        for source in &self.config.sources {
            lifecycle::source_stopped(&self.registry, &source.name, Clock::wall_ms());
        }
        self.drain_stop.send_replace(true);
        let drained = stopped
            && self.wait_while(deadline, |agent, _| {
                agent.drains.iter().any(|drain| !drain.is_finished())
            });
        self.stage.send_replace(Stage::Close);
        let closed = drained
            && self.wait_while(deadline, |agent, _| {
                agent.shards.iter().any(|shard| !shard.is_finished())
            });
        sample(&self.registry, &self.sampled);
        for channel in &self.config.channels {
            let waiting = self.registry.channel(&channel.name).size_events();
            if waiting > 0 && matches!(channel.kind, ChannelKind::Memory { .. }) {
                tracing::warn!(
                    "channel {}: {waiting} events wait in memory and are lost, as in Flume",
                    channel.name
                );
            }
            lifecycle::channel_stopped(&self.registry, &channel.name, Clock::wall_ms());
        }
        if !closed {
            tracing::warn!(
                "Stopped before everything was in order; what was acknowledged is in the log and is \
                 delivered after the next start"
            );
            if let Some(admin) = self.admin.take() {
                admin.stop();
            }
        }
        ExitCode::SUCCESS
    }

    /// Waits while `busy`. False: the deadline or a second signal came first.
    fn wait_while(
        &mut self,
        deadline: Duration,
        mut busy: impl FnMut(&Self, &mut usize) -> bool,
    ) -> bool {
        let mut seen = 0;
        while busy(self, &mut seen) {
            if self.clock.now() > deadline || self.signals.pending().is_some() {
                return false;
            }
            #[expect(clippy::disallowed_methods, reason = "the main thread is no core's")]
            std::thread::sleep(Duration::from_millis(5));
        }
        true
    }

    /// A start that failed: whatever runs is told to end.
    fn abandon(&mut self) {
        self.drain_stop.send_replace(true);
        self.stage.send_replace(Stage::Close);
        let deadline = self.clock.now() + Duration::from_secs(2);
        self.wait_while(deadline, |agent, _| {
            agent.shards.iter().any(|shard| !shard.is_finished())
        });
    }
}

impl ChannelParts {
    fn of(config: &ChannelConfig, agent: &AgentConfig) -> Self {
        let mut groups: Vec<(String, Arc<Notify>)> = Vec::new();
        for sink in agent
            .sinks
            .iter()
            .filter(|sink| sink.channel == config.name)
        {
            let group = sink.group.clone().unwrap_or_default();
            if !groups.iter().any(|(known, _)| *known == group) {
                groups.push((group, Arc::new(Notify::new())));
            }
        }
        let (capacity_bytes, checkpoint) = match &config.kind {
            ChannelKind::Memory { capacity_bytes } => (*capacity_bytes, None),
            ChannelKind::File(file) => {
                let directory = file.checkpoint_dir.clone();
                let load =
                    async move { Checkpoint::load(&DrainWorld::default(), &directory).await };
                (u64::MAX, tokio_uring::start(load))
            }
        };
        Self {
            config: config.clone(),
            groups,
            usage: Arc::new(Usage::new(config.capacity_events, capacity_bytes)),
            checkpoint,
            checkpoint_due: Arc::default(),
            memory: Vec::new(),
            recovered: Vec::new(),
        }
    }

    fn file(&self) -> Option<&FileChannelConfig> {
        match &self.config.kind {
            ChannelKind::File(file) => Some(file),
            ChannelKind::Memory { .. } => None,
        }
    }

    fn make_memory(&mut self, shard_count: usize) {
        if self.file().is_some() {
            return;
        }
        let shard = |index: usize| {
            let shard = u32::try_from(index).expect("at most 256 shards");
            Arc::new(LogShared::in_memory(
                shard,
                self.groups.clone(),
                Arc::clone(&self.usage),
            ))
        };
        self.memory = (0..shard_count).map(shard).collect();
    }

    /// What shard `index` does for this channel.
    fn job(&self, index: usize, shard_count: usize, shards_known: usize) -> ChannelJob {
        let name = self.config.name.clone();
        let Some(file) = self.file() else {
            return ChannelJob::Memory {
                name,
                transaction_capacity: self.config.transaction_capacity,
                keep_alive: self.config.keep_alive,
                log: Arc::clone(&self.memory[index]),
            };
        };
        let on_disk = shards_on_disk(&file.data_dirs);
        // Logs of shards that are no more are shared out among those that are.
        let drained_only = (shard_count..shards_known)
            .filter(|shard| shard % shard_count == index)
            .filter_map(|shard| u32::try_from(shard).ok())
            .filter(|shard| on_disk.contains(shard));
        ChannelJob::File {
            name: name.clone(),
            drained_only: drained_only.collect(),
            plan: WalPlan {
                channel: name,
                file: file.clone(),
                shard_count: u32::try_from(shard_count).expect("at most 256 shards"),
                transaction_capacity: self.config.transaction_capacity,
                keep_alive: self.config.keep_alive,
                usage: Arc::clone(&self.usage),
                checkpoint: Arc::new(self.checkpoint.clone()),
                groups: self.groups.clone(),
                checkpoint_due: Arc::clone(&self.checkpoint_due),
            },
        }
    }

    fn sampled(&self) -> SampledChannel {
        let memory = self.memory.iter().map(|log| (Arc::clone(log), None));
        let disk = self.recovered.iter();
        let disk = disk.map(|log| (Arc::clone(&log.shared), Some(Arc::clone(&log.counters))));
        SampledChannel {
            name: self.config.name.clone(),
            logs: memory.chain(disk).collect(),
        }
    }

    fn log_jobs(&self, group_index: usize) -> Vec<LogJob> {
        let memory = self.memory.iter();
        let memory = memory.map(|log| LogJob {
            log: Arc::clone(log),
            group_index,
            start: None,
        });
        let disk = self.recovered.iter().map(|log| LogJob {
            log: Arc::clone(&log.shared),
            group_index,
            start: Some((log.cursors[group_index].1, Arc::clone(&log.counters))),
        });
        memory.chain(disk).collect()
    }

    fn checkpoint_job(&self, registry: &Registry) -> Option<CheckpointJob> {
        let file = self.file()?;
        let generation = self
            .checkpoint
            .as_ref()
            .map_or(0, |checkpoint| checkpoint.generation);
        let shards = self.recovered.iter().map(|log| log.entry.clone()).collect();
        let metrics = registry.channel(&self.config.name);
        Some(CheckpointJob {
            channel: self.config.name.clone(),
            directory: file.checkpoint_dir.clone(),
            interval: file.checkpoint_interval,
            logs: self
                .recovered
                .iter()
                .map(|log| Arc::clone(&log.shared))
                .collect(),
            current: Checkpoint { generation, shards },
            counters: Arc::clone(&metrics.shard(0).counters),
        })
    }
}

fn data_dirs(config: &AgentConfig) -> Vec<PathBuf> {
    let file = |channel: &ChannelConfig| match &channel.kind {
        ChannelKind::File(file) => file.data_dirs.clone(),
        ChannelKind::Memory { .. } => Vec::new(),
    };
    config.channels.iter().flat_map(file).collect()
}

/// Where sinks of a file channel keep what they must not forget: beside the cursors.
fn state_dirs(config: &AgentConfig) -> BTreeMap<String, PathBuf> {
    let file = |channel: &ChannelConfig| match &channel.kind {
        ChannelKind::File(file) => Some((channel.name.clone(), file.checkpoint_dir.clone())),
        ChannelKind::Memory { .. } => None,
    };
    config.channels.iter().filter_map(file).collect()
}

fn lock_directories(config: &AgentConfig) -> Result<Vec<DirectoryLock>, LockError> {
    let mut locks = Vec::new();
    for channel in &config.channels {
        if let ChannelKind::File(file) = &channel.kind {
            for directory in std::iter::once(&file.checkpoint_dir).chain(&file.data_dirs) {
                locks.push(DirectoryLock::acquire(directory, &channel.name)?);
                warn_of_flume_log(directory, &channel.name);
            }
        }
    }
    Ok(locks)
}

fn call_the_rolls(config: &AgentConfig) -> Result<(), RosterError> {
    for channel in &config.channels {
        if let ChannelKind::File(file) = &channel.kind {
            call_the_roll(&channel.name, &file.checkpoint_dir, &file.data_dirs)?;
        }
    }
    Ok(())
}

/// The shards share each port (`SO_REUSEPORT`), and so would another flumen of this user: the two would
/// split the connections between them. A socket that does not share finds out, before anything is
/// recovered. It never listens, so no client is turned away by it.
fn check_ports(config: &AgentConfig, clock: &Clock) -> Result<(), StartError> {
    let deadline = clock.now() + PORT_PATIENCE;
    let mut taken = Vec::new();
    for source in &config.sources {
        let SourceKind::Avro(avro) = &source.kind;
        loop {
            match bind_alone(avro.address) {
                Ok(socket) => {
                    taken.push(socket);
                    break;
                }
                Err(error)
                    if error.kind() == std::io::ErrorKind::AddrInUse && clock.now() < deadline =>
                {
                    #[expect(clippy::disallowed_methods, reason = "the main thread is no core's")]
                    std::thread::sleep(PORT_RETRY);
                }
                Err(error) => {
                    return Err(StartError::Port {
                        name: source.name.clone(),
                        address: avro.address,
                        source: error,
                    });
                }
            }
        }
    }
    Ok(())
}

fn bind_alone(address: SocketAddr) -> std::io::Result<socket2::Socket> {
    let domain = socket2::Domain::for_address(address);
    let socket = socket2::Socket::new(domain, socket2::Type::STREAM, None)?;
    // Connections of an earlier process that are in TIME_WAIT do not count.
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    Ok(socket)
}

/// A Flume file channel may have left events here, and we do not read its files.
fn warn_of_flume_log(directory: &Path, channel: &str) {
    let is_flume_log = |entry: &std::fs::DirEntry| {
        let name = entry.file_name();
        let number = name.to_str().and_then(|name| name.strip_prefix("log-"));
        number.is_some_and(|number| number.bytes().all(|byte| byte.is_ascii_digit()))
    };
    let mut entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    if let Some(found) = entries.find(is_flume_log) {
        tracing::warn!(
            "channel {channel}: {} was written by a Flume file channel and is left alone. If Flume had \
             not delivered everything in it, stop flumen, let Flume drain the channel (its sinks only, \
             no source), then start flumen again",
            found.path().display()
        );
    }
}

fn build_registry(
    config: &AgentConfig,
    channels: &[ChannelParts],
    shard_count: usize,
    drain_count: usize,
) -> Arc<Registry> {
    let mut registry = Registry::builder(shard_count, drain_count);
    for source in &config.sources {
        registry = registry.source(&source.name, metrics::SourceKind::Standard);
    }
    for parts in channels {
        let kind = match parts.file() {
            Some(_) => metrics::ChannelKind::File,
            None => metrics::ChannelKind::Memory,
        };
        let groups = parts.groups.iter().map(|(group, _)| group.as_str());
        let capacity = parts.config.capacity_events;
        registry = registry.channel(&parts.config.name, kind, capacity, groups);
    }
    for sink in &config.sinks {
        let kind = match &sink.kind {
            SinkKind::Logger { .. } | SinkKind::Null { .. } => metrics::SinkKind::Silent,
            SinkKind::Kafka(_) => metrics::SinkKind::Kafka,
            SinkKind::FileRoll(_) | SinkKind::Hdfs(_) => metrics::SinkKind::Standard,
        };
        registry = registry.sink(&sink.name, kind);
    }
    registry.build()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_that_another_flumen_shares_is_taken() {
        let listener =
            socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
        listener.set_reuse_address(true).unwrap();
        listener.set_reuse_port(true).unwrap();
        listener
            .bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into())
            .unwrap();
        listener.listen(1).unwrap();
        let address = listener.local_addr().unwrap().as_socket().unwrap();
        let error = bind_alone(address).unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::AddrInUse);
        drop(listener);
        bind_alone(address).unwrap();
    }
}
