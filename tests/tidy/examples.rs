//! The example configurations are ones a reader may copy: nothing is to be said against them.

use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::sync::Arc;

use flumen::config::files::Files;
use flumen::config::{Surroundings, load};

use crate::tree;

#[test]
fn examples_are_valid_without_a_remark() {
    let examples = tree::files("docs/examples", ".conf");
    assert!(examples.len() >= 6, "{examples:?}");
    for example in examples {
        let mut read = Files::default();
        let text = with_directory_that_exists(&tree::read(&example));
        read.add(text.as_bytes(), &Arc::from(example.as_str()), 0);
        let agents = read.agents();
        assert!(!agents.is_empty(), "{example} configures no agent");
        for agent in agents {
            let mut surroundings = Surroundings::of_process([].into(), None);
            // The examples name hosts of a site that is not here.
            surroundings.resolve = |_| Some(IpAddr::V4(Ipv4Addr::LOCALHOST));
            surroundings.starting = false;
            surroundings.home = PathBuf::from("/home/flume");
            let loaded = load(&read, &agent, &surroundings);
            assert!(
                loaded.agent.is_some(),
                "{example}:\n{}",
                loaded.findings.render()
            );
            assert_eq!(
                loaded.findings.iter().count(),
                0,
                "{example}:\n{}",
                loaded.findings.render()
            );
        }
    }
}

/// Where a reader makes the directory that the example names, there is one on every machine.
fn with_directory_that_exists(text: &str) -> String {
    let here = std::env::temp_dir().display().to_string();
    let line = |line: &str| match line.split_once(".sink.directory = ") {
        Some((key, _)) => format!("{key}.sink.directory = {here}\n"),
        None => format!("{line}\n"),
    };
    text.lines().map(line).collect()
}
