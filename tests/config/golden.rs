//! Every configuration of the folders gives exactly the findings beside it.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use flumen::config::files::Files;
use flumen::config::{AgentConfig, Loaded, Surroundings, load};

/// The same surroundings on every machine.
pub(crate) fn surroundings() -> Surroundings {
    let pairs = |pairs: &[(&str, &str)]| {
        pairs
            .iter()
            .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
            .collect::<BTreeMap<_, _>>()
    };
    Surroundings {
        environment: pairs(&[("COLLECTOR", "10.0.0.1"), ("CAPACITY", "500")]),
        system: pairs(&[("port", "4141")]),
        home: PathBuf::from("/home/flume"),
        conf_dir: None,
        now_ms: 1_700_000_000_000,
        resolve: |host| {
            (host == "slave1" || host == "slave2").then_some(IpAddr::V4(Ipv4Addr::LOCALHOST))
        },
        starting: true,
        lenient: false,
    }
}

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/config")
        .join(name)
}

fn configurations(name: &str) -> Vec<PathBuf> {
    let mut paths: Vec<PathBuf> = std::fs::read_dir(folder(name))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| {
            path.extension()
                .is_some_and(|extension| extension == "conf")
        })
        .collect();
    paths.sort();
    paths
}

/// The agent is the first one of the file, unless the first line says `# agent: NAME`; `# lenient` in the
/// second line leaves out what is broken.
fn load_file(path: &Path) -> Loaded {
    let bytes = std::fs::read(path).unwrap();
    let text = String::from_utf8_lossy(&bytes).into_owned();
    let mut files = Files::default();
    let name: Arc<str> = Arc::from(path.file_name().unwrap().to_string_lossy());
    files.add(&bytes, &name, 0);
    let named = text
        .lines()
        .next()
        .and_then(|line| line.strip_prefix("# agent: "))
        .map(str::to_owned);
    let agent = named.unwrap_or_else(|| {
        files
            .agents()
            .into_iter()
            .next()
            .unwrap_or_else(|| "a1".to_owned())
    });
    let mut surroundings = surroundings();
    surroundings.lenient = text.lines().take(2).any(|line| line == "# lenient");
    load(&files, &agent, &surroundings)
}

fn shown(loaded: &Loaded) -> String {
    let started = match &loaded.agent {
        None => "refused\n".to_owned(),
        Some(agent) => summary(agent),
    };
    format!("{}{started}", loaded.findings.render())
}

fn summary(agent: &AgentConfig) -> String {
    let names = |names: Vec<&str>| names.join(" ");
    format!(
        "starts: sources [{}] channels [{}] sinks [{}]\n",
        names(
            agent
                .sources
                .iter()
                .map(|source| source.name.as_str())
                .collect()
        ),
        names(
            agent
                .channels
                .iter()
                .map(|channel| channel.name.as_str())
                .collect()
        ),
        names(agent.sinks.iter().map(|sink| sink.name.as_str()).collect()),
    )
}

fn check_folder(name: &str) -> usize {
    let update = std::env::var_os("UPDATE_GOLDEN").is_some();
    let mut differences = Vec::new();
    let paths = configurations(name);
    for path in &paths {
        let actual = shown(&load_file(path));
        let golden = path.with_extension("expected");
        if update {
            std::fs::write(&golden, &actual).unwrap();
            continue;
        }
        let expected = std::fs::read_to_string(&golden).unwrap_or_default();
        if expected != actual {
            differences.push(format!(
                "{}:\n--- expected\n{expected}\n--- actual\n{actual}",
                path.display()
            ));
        }
    }
    assert!(differences.is_empty(), "{}", differences.join("\n"));
    paths.len()
}

#[test]
fn every_bad_or_odd_configuration_gives_its_findings() {
    assert!(check_folder("bad") >= 40);
}

#[test]
fn published_agent_configurations_give_the_documented_reactions() {
    assert!(check_folder("agents") >= 5);
}

#[test]
fn published_collector_configurations_start_unchanged() {
    assert!(check_folder("collectors") >= 4);
    for path in configurations("collectors") {
        let loaded = load_file(&path);
        assert!(
            !loaded.findings.has_errors(),
            "{}: {}",
            path.display(),
            loaded.findings.render()
        );
        assert!(loaded.agent.is_some());
    }
}
