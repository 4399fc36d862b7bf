//! Reads the command line and calls one function per subcommand.

use std::io::Write as _;
use std::process::ExitCode;

use clap::Parser as _;
use flumen::agent::StopSignals;
use flumen::config::command_line::{
    AgentArguments, Command, CommandLine, ValidateArguments, prepare,
};
use flumen::config::diagnostic::{Findings, Severity};
use flumen::config::files::Files;
use flumen::config::{AgentOptions, Loaded, Surroundings, load};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// The configuration is refused (EX_CONFIG).
const EXIT_REFUSED: u8 = 78;
/// The command line is wrong (EX_USAGE).
const EXIT_USAGE: u8 = 64;
/// The system refuses what every start needs (EX_OSERR).
const EXIT_SYSTEM: u8 = 71;

fn main() -> ExitCode {
    let command_line = CommandLine::parse_from(prepare(std::env::args()));
    match command_line.command {
        Command::Agent(arguments) => until_stopped(|signals| agent(&arguments, signals)),
        Command::Validate(arguments) => validate(&arguments),
        Command::Quickstart { port, directory } => {
            until_stopped(|signals| flumen::agent::quickstart(port, &directory, signals))
        }
        Command::Wal(command) => flumen::maintenance::run(&command),
        Command::Version => version(),
    }
}

/// Runs what ends in order at a signal, whenever that comes.
fn until_stopped(run: impl FnOnce(StopSignals) -> ExitCode) -> ExitCode {
    match StopSignals::install() {
        Ok(signals) => run(signals),
        Err(error) => {
            eprintln!("flumen: installing signal handlers failed: {error}");
            ExitCode::from(EXIT_SYSTEM)
        }
    }
}

/// Loads one agent and runs it; a configuration with an error is printed and refused.
fn agent(arguments: &AgentArguments, signals: StopSignals) -> ExitCode {
    let Some(name) = &arguments.name else {
        eprintln!("flumen: the agent's name is missing; give it with --name NAME");
        return ExitCode::from(EXIT_USAGE);
    };
    let request = arguments.request();
    let mut surroundings =
        Surroundings::of_process(request.properties.clone(), arguments.conf.clone());
    surroundings.lenient = arguments.flume_lenient;
    let Loaded { agent, findings } = load(&Files::read(&request.files), name, &surroundings);
    let refused = request.findings.has_errors();
    let mut all = request.findings;
    all.extend(findings);
    all.sort();
    if all.iter().next().is_some() {
        eprint!("{}", all.render());
    }
    let Some(agent) = agent.filter(|_| !refused) else {
        eprintln!("flumen: the configuration is refused; nothing was started");
        if !arguments.flume_lenient && !refused {
            eprintln!(
                "flumen: --flume-lenient leaves out what is broken and starts the rest, as Flume does"
            );
        }
        return ExitCode::from(EXIT_REFUSED);
    };
    if arguments.dryrun {
        return ExitCode::SUCCESS;
    }
    let options = AgentOptions {
        agent,
        conf_dir: arguments.conf.clone(),
        files: request.files,
        properties: request.properties,
        findings: all,
    };
    flumen::agent::run(options, signals)
}

/// Prints what is found in the files, for one agent or all.
fn validate(arguments: &ValidateArguments) -> ExitCode {
    let request = arguments.agent.request();
    let files = Files::read(&request.files);
    let mut surroundings =
        Surroundings::of_process(request.properties, arguments.agent.conf.clone());
    surroundings.starting = false;
    let mut findings = request.findings;
    findings.extend(files.findings.clone());
    let names = arguments
        .agent
        .name
        .clone()
        .map_or_else(|| files.agents(), |name| vec![name]);
    if names.is_empty() && !findings.has_errors() {
        // Loading an agent that is not there says that the files hold none.
        findings.extend(load(&files, "", &surroundings).findings);
    }
    for name in &names {
        findings.extend(load(&files, name, &surroundings).findings);
    }
    findings.sort();
    print(&findings, arguments.json);
    let failed =
        findings.has_errors() || (arguments.strict && findings.count(Severity::Warning) > 0);
    ExitCode::from(if failed { EXIT_REFUSED } else { 0 })
}

fn print(findings: &Findings, json: bool) {
    let text = if json {
        findings.json() + "\n"
    } else {
        findings.render()
    };
    // A reader that closed the pipe has seen enough.
    drop(std::io::stdout().write_all(text.as_bytes()));
}

/// Five lines, in the shape of Flume's.
fn version() -> ExitCode {
    println!("flumen {}", env!("CARGO_PKG_VERSION"));
    println!(
        "Source code repository: {}",
        option_env!("FLUMEN_REPOSITORY").unwrap_or("not recorded")
    );
    println!(
        "Revision: {}",
        option_env!("FLUMEN_REVISION").unwrap_or("not recorded")
    );
    println!(
        "Compiled for {} on {}",
        std::env::consts::OS,
        std::env::consts::ARCH
    );
    println!("Takes over the files and agents of Apache Flume 1.6 to 1.11");
    ExitCode::SUCCESS
}
