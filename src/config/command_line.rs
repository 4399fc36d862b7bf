//! The command line: Flume's options, long, short, and those with one dash and several letters.
//!
//! Control plane only. What is always true: every option of `flume-ng` is understood: it works, or is
//! in a finding by name.

use std::collections::BTreeMap;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use super::diagnostic::{Finding, Findings};
use super::wal_command_line::WalCommand;
use super::{flume_env, system};

/// flumen: a collector that takes over Apache Flume's job.
#[derive(Debug, Parser)]
#[command(name = "flumen", disable_version_flag = true)]
pub struct CommandLine {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// Subcommands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run an agent.
    #[command(visible_alias = "node")]
    Agent(AgentArguments),
    /// Check a configuration and print what is found; exit code 78 if an agent would be refused.
    Validate(ValidateArguments),
    /// Start a collector with a built-in configuration: Avro in, files out.
    Quickstart {
        /// Port of the Avro source.
        #[arg(long, default_value_t = 4141)]
        port: u16,
        /// Directory for the log and the output.
        #[arg(long, default_value = "./flumen-quickstart")]
        directory: PathBuf,
    },
    /// Look at the write-ahead log of a file channel, also while the agent runs; export and repair it.
    #[command(subcommand)]
    Wal(WalCommand),
    /// Print the version.
    Version,
}

/// Options of `flume-ng agent`.
#[derive(Debug, Args)]
pub struct AgentArguments {
    /// The name of this agent.
    #[arg(short = 'n', long)]
    pub name: Option<String>,
    /// Configuration file; may be given several times.
    #[arg(short = 'f', long = "conf-file", value_name = "FILE")]
    pub conf_file: Vec<PathBuf>,
    /// Directory with flume-env.sh, core-site.xml, hdfs-site.xml.
    #[arg(short = 'c', long = "conf", value_name = "DIR")]
    pub conf: Option<PathBuf>,
    /// System property.
    #[arg(short = 'D', value_name = "KEY=VALUE")]
    pub define: Vec<String>,
    /// Leave out what is broken and start the rest, as Flume does.
    #[arg(long)]
    pub flume_lenient: bool,
    /// Check and print, but do not start.
    #[arg(short = 'd', long)]
    pub dryrun: bool,
    /// Do not read the configuration again (it never is).
    #[arg(long)]
    pub no_reload_conf: bool,
    /// Class path; no effect.
    #[arg(short = 'C', long, value_name = "PATH")]
    pub classpath: Option<String>,
    /// Plugin directories; no effect.
    #[arg(long, value_name = "DIRS")]
    pub plugins_path: Option<String>,
    /// Option of the JVM; no effect.
    #[arg(short = 'X', value_name = "OPTION", allow_hyphen_values = true)]
    pub jvm: Vec<String>,
    /// ZooKeeper; not built yet.
    #[arg(short = 'z', long = "zkConnString", value_name = "HOSTS")]
    pub zk_conn_string: Option<String>,
    /// Base path in ZooKeeper; not built yet.
    #[arg(short = 'p', long = "zkBasePath", value_name = "PATH")]
    pub zk_base_path: Option<String>,
    /// Configuration from a URI: file: works, others are not built yet.
    #[arg(short = 'u', long, value_name = "URI")]
    pub conf_uri: Vec<String>,
    /// Java class of a configuration provider; cannot run here.
    #[arg(long, value_name = "CLASS")]
    pub conf_provider: Option<String>,
    /// User for --conf-uri; not built yet.
    #[arg(long, value_name = "USER")]
    pub conf_user: Option<String>,
    /// Password for --conf-uri; not built yet.
    #[arg(long, value_name = "PASSWORD")]
    pub conf_password: Option<String>,
    /// Java class for --conf-uri; cannot run here.
    #[arg(short = 'a', long, value_name = "CLASS")]
    pub auth_provider: Option<String>,
    /// Seconds between two reads of the configuration; not built yet.
    #[arg(short = 'i', long, value_name = "SECONDS")]
    pub poll_interval: Option<String>,
    /// Directory for a copy of the configuration; not built yet.
    #[arg(short = 'b', long, value_name = "DIR")]
    pub backup_directory: Option<String>,
}

/// Options of `flumen validate`.
#[derive(Debug, Args)]
pub struct ValidateArguments {
    /// The same as for `agent`; without --name all agents of the files are checked.
    #[command(flatten)]
    pub agent: AgentArguments,
    /// Warnings fail, too.
    #[arg(long)]
    pub strict: bool,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}

/// What the options say, in one piece.
#[derive(Debug)]
pub struct Request {
    /// Files, in order.
    pub files: Vec<PathBuf>,
    /// System properties of flume-env.sh, then of the command line.
    pub properties: BTreeMap<String, String>,
    /// Findings about the options.
    pub findings: Findings,
}

/// Options with one dash and several letters, and what clap knows them as.
const SINGLE_DASH: [(&str, &str); 3] = [
    ("-prov", "--conf-provider"),
    ("-user", "--conf-user"),
    ("-pwd", "--conf-password"),
];

/// Rewrites what clap cannot know: `-prov X`, `-javaagent:…`.
pub fn prepare(arguments: impl IntoIterator<Item = String>) -> Vec<String> {
    let rewrite = |argument: String| {
        let (name, value) = argument
            .split_once('=')
            .map_or((argument.as_str(), None), |(name, value)| {
                (name, Some(value))
            });
        if let Some((_, long)) = SINGLE_DASH.iter().find(|(short, _)| *short == name) {
            return value.map_or_else(|| (*long).to_owned(), |value| format!("{long}={value}"));
        }
        if ["-javaagent:", "-agentlib:", "-agentpath:"]
            .iter()
            .any(|prefix| argument.starts_with(prefix))
        {
            return format!("-X{}", argument.trim_start_matches('-'));
        }
        argument
    };
    arguments.into_iter().map(rewrite).collect()
}

impl AgentArguments {
    /// Files and properties, with a finding for each option that does not work.
    pub fn request(&self) -> Request {
        let mut findings = Findings::new();
        let mut files = self.conf_file.clone();
        for uri in &self.conf_uri {
            match uri.strip_prefix("file:") {
                Some(path) => files.push(PathBuf::from(path.strip_prefix("//").unwrap_or(path))),
                None => findings.add(refused(
                    "not-yet",
                    "--conf-uri",
                    "A configuration from the network is not built yet.",
                    "Fetch it with curl and give the file with --conf-file.",
                )),
            }
        }
        self.refuse(&mut findings);
        self.note(&mut findings);
        let mut properties = self
            .conf
            .as_deref()
            .map(|conf| flume_env::read(conf, &mut findings))
            .unwrap_or_default();
        for definition in &self.define {
            let (key, value) = definition.split_once('=').unwrap_or((definition, ""));
            properties.insert(key.to_owned(), value.to_owned());
        }
        system::check(&properties, &mut findings);
        if files.is_empty() && self.zk_conn_string.is_none() && self.conf_uri.is_empty() {
            findings.add(refused(
                "missing-option",
                "--conf-file",
                "No configuration file is named.",
                "Give it with --conf-file FILE.",
            ));
        }
        Request {
            files,
            properties,
            findings,
        }
    }

    fn refuse(&self, findings: &mut Findings) {
        let zookeeper = self.zk_conn_string.is_some() || self.zk_base_path.is_some();
        let user = self.conf_user.is_some() || self.conf_password.is_some();
        let refusals = [
            (
                zookeeper,
                "not-yet",
                "--zkConnString",
                "Configuration in ZooKeeper is not built yet.",
                "Write the node's text to a file and give it with --conf-file.",
            ),
            (
                self.conf_provider.is_some(),
                "not-supported",
                "--conf-provider",
                "A configuration provider is a Java class, which cannot run here.",
                "Give a file with --conf-file.",
            ),
            (
                self.auth_provider.is_some(),
                "not-supported",
                "--auth-provider",
                "It names a Java class, which cannot run here.",
                "Give a file with --conf-file.",
            ),
            (
                user,
                "not-yet",
                "--conf-user",
                "A configuration from the network is not built yet.",
                "Fetch it with curl and give the file with --conf-file.",
            ),
        ];
        for (_, rule, option, message, remedy) in refusals.into_iter().filter(|refusal| refusal.0) {
            findings.add(refused(rule, option, message, remedy));
        }
    }

    fn note(&self, findings: &mut Findings) {
        let reload = "The configuration is read once; reading it again is not built yet. Restart to apply a change.";
        let notes = [
            (
                self.classpath.is_some(),
                "--classpath",
                "There is no JVM, so there is no class path.",
            ),
            (
                self.plugins_path.is_some(),
                "--plugins-path",
                "Plugins are Java classes, which cannot run here.",
            ),
            (
                !self.jvm.is_empty(),
                "-X",
                "There is no JVM, so its options have no effect.",
            ),
            (self.poll_interval.is_some(), "--poll-interval", reload),
            (
                self.backup_directory.is_some(),
                "--backup-directory",
                "No copy of the configuration is kept; the file itself is read at each start.",
            ),
        ];
        for (_, option, message) in notes.into_iter().filter(|note| note.0) {
            findings.add(
                Finding::note("no-effect", message)
                    .key(option)
                    .remedy("The option can go."),
            );
        }
        if let Some(conf) = self.conf.as_ref().filter(|conf| !conf.is_dir()) {
            findings.add(
                Finding::warning(
                    "no-such-directory",
                    format!("`{}` is not a directory.", conf.display()),
                )
                .key("--conf")
                .flume("goes on without flume-env.sh and its log settings.")
                .remedy("Correct the path, or leave the option out."),
            );
        }
    }
}

fn refused(rule: &'static str, option: &str, message: &str, remedy: &str) -> Finding {
    Finding::error(rule, message).key(option).remedy(remedy)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn agent(line: &str) -> AgentArguments {
        let words = prepare(line.split_whitespace().map(str::to_owned));
        match CommandLine::try_parse_from(words).unwrap().command {
            Command::Agent(arguments) => arguments,
            other @ (Command::Validate(_)
            | Command::Quickstart { .. }
            | Command::Wal(_)
            | Command::Version) => {
                panic!("{other:?}")
            }
        }
    }

    #[test]
    fn the_command_lines_of_flume_are_understood() {
        let long =
            agent("flumen agent --conf center1-conf/ --conf-file a.properties --name center1");
        assert_eq!(long.name.as_deref(), Some("center1"));
        let short = agent(
            "flumen node -n agent -c conf -f a -f b -Dflume.root.logger=INFO,console -Xmx1g -d --no-reload-conf",
        );
        assert_eq!(short.conf_file.len(), 2);
        assert_eq!(short.define, ["flume.root.logger=INFO,console"]);
        assert_eq!(short.jvm, ["mx1g"]);
        assert!(short.dryrun);
    }

    #[test]
    fn a_log_is_named_by_directories_or_by_configuration() {
        let understood = |line: &str| {
            let words = prepare(line.split_whitespace().map(str::to_owned));
            CommandLine::try_parse_from(words).is_ok()
        };
        for line in [
            "flumen wal ls --data-dir a --data-dir b --checkpoint-dir c",
            "flumen wal verify -f a.conf -n agent --channel c1 --json",
            "flumen wal inspect --data-dir a --at 3:4096 --bytes 32",
            "flumen wal export --data-dir a --backlog --to h:4141 --deflate --batch 10",
            "flumen wal export --data-dir a --backlog audit --format json -o x",
            "flumen wal export --data-dir a --from 0:17 --from 1:4 --until 0:20",
            "flumen wal export --file a/segment-00000001.damaged-0 --to h:4141",
            "flumen wal repair --data-dir a --checkpoint-dir c --yes",
        ] {
            assert!(understood(line), "{line}");
        }
        for line in [
            "flumen wal ls --data-dir a -f a.conf",
            "flumen wal inspect --data-dir a --block 1 --event 2",
            "flumen wal export --data-dir a --all --backlog",
            "flumen wal export --data-dir a --all --to h:1 --format raw",
            "flumen wal repair --data-dir a --yes --dry-run",
        ] {
            assert!(!understood(line), "{line}");
        }
    }

    #[test]
    fn single_dash_options_are_rewritten() {
        let parsed =
            agent("flumen agent -n a -u file:///a -prov x.Y -user u -pwd=p -javaagent:x.jar");
        assert_eq!(parsed.conf_provider.as_deref(), Some("x.Y"));
        assert_eq!(
            (parsed.conf_user.as_deref(), parsed.conf_password.as_deref()),
            (Some("u"), Some("p"))
        );
        let request = parsed.request();
        assert_eq!(request.files, [PathBuf::from("/a")]);
        let keys: Vec<_> = request
            .findings
            .iter()
            .filter_map(|finding| finding.key.as_deref())
            .collect();
        assert_eq!(keys, ["--conf-provider", "--conf-user", "-X"]);
    }

    #[test]
    fn options_that_do_not_work_are_named() {
        let request = agent("flumen agent -n a -z h:2181 -p /flume -a c -i 5 -b d -C x --plugins-path y -Dflume.monitorin.type=http").request();
        let keys: Vec<_> = request
            .findings
            .iter()
            .filter_map(|finding| finding.key.as_deref())
            .collect();
        assert_eq!(
            keys,
            [
                "--zkConnString",
                "--auth-provider",
                "--classpath",
                "--plugins-path",
                "--poll-interval",
                "--backup-directory",
                "-Dflume.monitorin.type"
            ]
        );
    }
}
