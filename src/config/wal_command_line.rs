//! The command line of `flumen wal`: which log, and what to do with it.
//!
//! Control plane only. A log is named by its directories or by the configuration that names them.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

/// Subcommands of `flumen wal`.
#[derive(Debug, Subcommand)]
pub enum WalCommand {
    /// List shards, segments, checkpoints and how far each consumer group has come.
    Ls(ListArguments),
    /// Show one segment or one block in full.
    Inspect(InspectArguments),
    /// Read everything and check it; exit code 65 if something is damaged.
    Verify(ListArguments),
    /// Copy events to a file, to standard output, or to another collector.
    Export(ExportArguments),
    /// Set aside what keeps an agent from starting. Says what it would do; does it with --yes.
    Repair(RepairArguments),
}

/// Which log. By directories, or by configuration.
#[derive(Debug, Args, Clone)]
pub struct LogArguments {
    /// Data directory of the channel (`dataDirs`); may be given several times.
    #[arg(long, value_name = "DIR", conflicts_with = "conf_file")]
    pub data_dir: Vec<PathBuf>,
    /// Checkpoint directory of the channel (`checkpointDir`).
    #[arg(long, value_name = "DIR", conflicts_with = "conf_file")]
    pub checkpoint_dir: Option<PathBuf>,
    /// Configuration file that names the directories; may be given several times.
    #[arg(short = 'f', long = "conf-file", value_name = "FILE")]
    pub conf_file: Vec<PathBuf>,
    /// The agent in the configuration; may be left out if there is one.
    #[arg(short = 'n', long, requires = "conf_file")]
    pub name: Option<String>,
    /// The file channel of the agent; may be left out if there is one.
    #[arg(long, requires = "conf_file")]
    pub channel: Option<String>,
    /// Directory with flume-env.sh, for a configuration that refers to it.
    #[arg(short = 'c', long = "conf", value_name = "DIR")]
    pub conf: Option<PathBuf>,
    /// System property, for a configuration that refers to it.
    #[arg(short = 'D', value_name = "KEY=VALUE")]
    pub define: Vec<String>,
    /// This shard only.
    #[arg(long)]
    pub shard: Option<u32>,
}

/// Options of `ls` and `verify`.
#[derive(Debug, Args)]
pub struct ListArguments {
    /// Which log.
    #[command(flatten)]
    pub log: LogArguments,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}

/// Options of `inspect`.
#[derive(Debug, Args)]
pub struct InspectArguments {
    /// Which log.
    #[command(flatten)]
    pub log: LogArguments,
    /// A segment by its id, or the block at an offset in it.
    #[arg(long, value_name = "SEGMENT[:OFFSET]", group = "what")]
    pub at: Option<String>,
    /// The block with this number.
    #[arg(long, value_name = "SEQUENCE", group = "what")]
    pub block: Option<u64>,
    /// The block that holds the event with this number.
    #[arg(long, value_name = "NUMBER", group = "what")]
    pub event: Option<u64>,
    /// Bytes of each body to show.
    #[arg(long, value_name = "COUNT", default_value_t = 16)]
    pub bytes: usize,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}

/// What an exported event looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ExportFormat {
    /// Avro container with Flume's `Event` schema.
    Avro,
    /// One JSON object a line.
    Json,
    /// Bodies, one a line.
    Raw,
}

/// Options of `export`.
#[derive(Debug, Args)]
pub struct ExportArguments {
    /// Which log.
    #[command(flatten)]
    pub log: LogArguments,
    /// Every event that is there.
    #[arg(long, group = "range")]
    pub all: bool,
    /// What this consumer group has not delivered. Without a name: the default group.
    #[arg(long, value_name = "GROUP", group = "range", num_args = 0..=1, default_missing_value = "")]
    pub backlog: Option<String>,
    /// From this event on; may be given once for each shard. Shards not named are left out.
    #[arg(long, value_name = "SHARD:EVENT", group = "range")]
    pub from: Vec<String>,
    /// What one segment file holds, whatever its header says: for files set aside.
    #[arg(long, value_name = "PATH", conflicts_with_all = ["data_dir", "checkpoint_dir", "conf_file", "all", "backlog"])]
    pub file: Vec<PathBuf>,
    /// Up to this event, which is left out; may be given once for each shard.
    #[arg(long, value_name = "SHARD:EVENT")]
    pub until: Vec<String>,
    /// What an event looks like.
    #[arg(long, value_enum, default_value_t = ExportFormat::Avro, conflicts_with = "to")]
    pub format: ExportFormat,
    /// The file to write, which must not exist; - is standard output.
    #[arg(
        short = 'o',
        long,
        value_name = "FILE",
        default_value = "-",
        conflicts_with = "to"
    )]
    pub output: PathBuf,
    /// Send the events to the Avro source of a collector instead.
    #[arg(long, value_name = "HOST:PORT")]
    pub to: Option<String>,
    /// Events in one batch of --to.
    #[arg(long, value_name = "COUNT", default_value_t = 1_000, requires = "to")]
    pub batch: usize,
    /// Attempts for one batch of --to before giving up.
    #[arg(long, value_name = "COUNT", default_value_t = 10, requires = "to")]
    pub attempts: u32,
    /// Compress what goes to --to, as `compression-type = deflate`.
    #[arg(long, requires = "to")]
    pub deflate: bool,
    /// Print the outcome as JSON, on standard error when events go to standard output.
    #[arg(long)]
    pub json: bool,
}

/// Options of `repair`.
#[derive(Debug, Args)]
pub struct RepairArguments {
    /// Which log.
    #[command(flatten)]
    pub log: LogArguments,
    /// Do it. Without this option nothing is changed.
    #[arg(long, conflicts_with = "dry_run")]
    pub yes: bool,
    /// Only say what would be done, which is the default.
    #[arg(long)]
    pub dry_run: bool,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}
