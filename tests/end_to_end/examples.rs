//! What a new user meets first: `flumen quickstart`, and the example configurations that need no outside
//! service.

use std::path::Path;
use std::time::Duration;

use crate::support::process::Process;
use crate::support::{
    Compression, FlumenProcess, RpcClient, Scratch, Status, TestEvent, file_roll, free_port,
    wait_until,
};

const LIMIT: Duration = Duration::from_secs(60);

fn start_quickstart(scratch: &Scratch, port: u16) -> Process {
    let place = scratch.path().join("place").display().to_string();
    let arguments = [
        "quickstart",
        "--port",
        &port.to_string(),
        "--directory",
        &place,
    ];
    let arguments = arguments.map(str::to_owned);
    let program = env!("CARGO_BIN_EXE_flumen");
    Process::start("quickstart", scratch.path(), program, &arguments, false)
}

#[test]
fn quickstart_shows_itself_at_work_and_stops_in_order() {
    let scratch = Scratch::new("quickstart");
    let port = free_port();
    let mut quickstart = start_quickstart(&scratch, port);
    quickstart.wait_for_log("its samples delivered", LIMIT, |log| {
        log.contains("event 3 of 3") && log.contains("Ctrl-C")
    });
    let mut client = RpcClient::connect(port, Compression::None).expect("listens");
    let event = TestEvent::new(&[], b"mine");
    assert_eq!(client.append_batch(&[event]).expect("a reply"), Status::Ok);
    let output = scratch.path().join("place/out");
    wait_until("my event in a file", LIMIT, || {
        file_roll::lines(&output).0.contains(&b"mine".to_vec())
    });
    assert!(quickstart.terminate(LIMIT).success());
    assert!(
        quickstart.log().contains("Stopped in order"),
        "{}",
        quickstart.log()
    );
}

#[test]
fn quickstart_on_a_port_that_is_taken_says_so() {
    let scratch = Scratch::new("quickstart-taken");
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = taken.local_addr().expect("it is bound").port();
    let mut quickstart = start_quickstart(&scratch, port);
    assert!(!quickstart.wait_end(LIMIT).success());
    let log = quickstart.log();
    assert!(
        log.contains("did not start") && log.contains(&port.to_string()),
        "{log}"
    );
}

/// The example with this port, and its directories below `folder`.
fn example(name: &str, port: u16, folder: &Path) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("docs/examples")
        .join(name);
    let text = std::fs::read_to_string(path).expect("the example can be read");
    let line = |line: &str| match line.split_once(" = ") {
        Some((key, _)) if key.ends_with(".port") => format!("{key} = {port}\n"),
        Some((key, place))
            if key.ends_with("Dir") || key.ends_with("Dirs") || key.ends_with(".directory") =>
        {
            let place = folder.join(place.trim_start_matches(['/', '.']));
            std::fs::create_dir_all(&place).expect("scratch is writable");
            format!("{key} = {}\n", place.display())
        }
        _ => format!("{line}\n"),
    };
    text.lines().map(line).collect()
}

#[test]
fn examples_without_an_outside_service_start_and_deliver() {
    for (name, agent, output) in [
        (
            "quickstart.conf",
            "quickstart",
            Some("flumen-quickstart/out"),
        ),
        (
            "failover-collector.conf",
            "collector",
            Some("var/spool/flumen"),
        ),
        ("memory-to-log.conf", "center1", None),
    ] {
        let scratch = Scratch::new("example");
        let port = free_port();
        let conf = example(name, port, scratch.path());
        let flumen = FlumenProcess::start(&conf, agent);
        let mut client = RpcClient::connect(port, Compression::None).expect("listens");
        let event = TestEvent::new(&[("app", "a")], b"hello example");
        assert_eq!(
            client.append_batch(&[event]).expect("a reply"),
            Status::Ok,
            "{name}"
        );
        wait_until("the event, delivered", LIMIT, || match output {
            Some(output) => {
                let (lines, _) = file_roll::lines(&scratch.path().join(output));
                lines == [b"hello example".to_vec()]
            }
            None => flumen.log().contains("Event: { headers:{app=a}"),
        });
    }
}
