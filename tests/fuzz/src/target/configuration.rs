//! Configurations: any text is read without a panic and within a bound, findings stand where the text
//! is, and reading twice gives the same.
//!
//! ```text
//! offset  size  field
//!      0     1  flags              1: lenient; 2: a check on another machine; 4: the old resolver of
//!                                  environment variables; 8: what follows 0x1c is a second file;
//!                                  16: the second agent
//!      1     …  text of a properties file
//! ```

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::sync::Arc;

use flumen::config::diagnostic::{Finding, Findings};
use flumen::config::files::Files;
use flumen::config::{Loaded, Surroundings, load};

use crate::crc::crc32c;
use crate::input::Input;
use crate::meter::held;
use crate::planted::is_planted;

/// References may fill a value up to 1 MiB; everything else follows the text.
const REFERENCES_BYTES_MAX: usize = 32 * 1024 * 1024;
const TEXT_RATIO_MAX: usize = 1024;

pub(crate) fn run(data: &[u8]) {
    let mut input = Input::new(data);
    let flags = input.u8();
    let text = input.rest();
    let texts: Vec<&[u8]> = match flags & 8 {
        0 => vec![text],
        _ => text.splitn(2, |byte| *byte == 0x1c).collect(),
    };
    let surroundings = surroundings(flags);
    let memory = REFERENCES_BYTES_MAX + TEXT_RATIO_MAX * text.len();
    let loaded = held(memory, || read(&texts, &surroundings, flags));
    check(&loaded, &texts, &surroundings);
    // Every tenth input or so: twice the work.
    if crc32c(data).is_multiple_of(10) {
        let again = read(&texts, &surroundings, flags);
        assert_eq!(
            loaded.findings, again.findings,
            "configuration: other findings"
        );
        let (one, other) = (format!("{:?}", loaded.agent), format!("{:?}", again.agent));
        assert_eq!(one, other, "configuration: another agent");
        let mut sorted = loaded.findings.clone();
        sorted.sort();
        assert_eq!(
            sorted, loaded.findings,
            "configuration: findings out of order"
        );
        shown(&loaded.findings);
    }
}

/// The first or the second agent of the files, or one that they do not have.
fn read(texts: &[&[u8]], surroundings: &Surroundings, flags: u8) -> Loaded {
    let mut files = Files::default();
    for (index, text) in texts.iter().enumerate() {
        let name: Arc<str> = Arc::from(file_name(index));
        files.add(text, &name, index);
    }
    let agents = files.agents();
    let agent = agents.get(usize::from(flags & 16 != 0)).or(agents.first());
    load(&files, agent.map_or("a1", String::as_str), surroundings)
}

fn file_name(index: usize) -> &'static str {
    ["first.conf", "second.conf"][index]
}

fn check(loaded: &Loaded, texts: &[&[u8]], surroundings: &Surroundings) {
    let Loaded { agent, findings } = loaded;
    assert!(
        agent.is_none() || surroundings.lenient || !findings.has_errors(),
        "configuration: an agent starts with errors"
    );
    assert!(
        agent.is_some() || findings.has_errors(),
        "configuration: refused without an error"
    );
    let line_counts: Vec<usize> = texts.iter().map(|text| line_count(text)).collect();
    for finding in findings.iter() {
        check_place(finding, texts, &line_counts);
    }
}

/// A place lies in the text of its file.
fn check_place(finding: &Finding, texts: &[&[u8]], line_counts: &[usize]) {
    assert!(
        !finding.message.is_empty(),
        "configuration: a finding says nothing"
    );
    let Some(place) = &finding.place else { return };
    assert_eq!(
        &*place.file,
        file_name(place.file_index),
        "configuration: file"
    );
    let text = texts[place.file_index];
    let line_count = line_counts[place.file_index];
    let (line, column) = (place.line as usize, place.column as usize);
    assert!(
        (1..=line_count).contains(&line),
        "configuration: line {line} of {line_count}"
    );
    assert!(
        (1..=text.len() + 1).contains(&column),
        "configuration: column {column}"
    );
}

fn line_count(text: &[u8]) -> usize {
    let line_ends = text.iter().filter(|byte| matches!(byte, b'\n' | b'\r'));
    // The defect: lines are counted from 0.
    line_ends.count() + usize::from(!is_planted())
}

/// All forms of showing the findings.
fn shown(findings: &Findings) {
    let text = findings.render();
    assert!(
        text.ends_with(&format!("{}\n", findings.summary())),
        "configuration: summary"
    );
    let json = findings.json();
    assert!(
        json.starts_with('{') && json.ends_with('}'),
        "configuration: json"
    );
}

fn surroundings(flags: u8) -> Surroundings {
    let pairs = |pairs: &[(&str, &str)]| {
        let owned = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
        pairs.iter().map(owned).collect::<BTreeMap<_, _>>()
    };
    let old = [(
        "propertiesImplementation",
        "org.apache.flume.node.EnvVarResolverProperties",
    )];
    Surroundings {
        environment: pairs(&[("A", "10.0.0.1"), ("B", "${A}"), ("CAPACITY", "500")]),
        system: pairs(if flags & 4 != 0 {
            &old
        } else {
            &[("port", "4141")]
        }),
        home: PathBuf::from("/home/flume"),
        conf_dir: None,
        now_ms: 1_700_000_000_000,
        resolve: |host| (host == "slave1").then_some(IpAddr::V4(Ipv4Addr::LOCALHOST)),
        starting: flags & 2 == 0,
        lenient: flags & 1 != 0,
    }
}
