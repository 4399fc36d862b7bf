//! What does flumen do on disks that are full, and on one that lies?

use std::time::Duration;

use crate::bench::{Bench, Layout, Sink};
use crate::caller::Outcome;
use crate::disk::FileSystem::{self, Ext4, Xfs};
use crate::disk::{Effect, Operation, Part, Place, Rule};
use crate::random::environment;
use crate::recording::show;
use crate::support::load::{Load, LoadPlan};
use crate::support::{Deadline, Oracle, wait_until};
use crate::trial::{ANSWER_LIMIT, Trial, count, layout};

#[test]
fn a_full_checkpoint_disk_stops_nothing_and_is_written_again() {
    let Some(mut trial) = Trial::start(layout("checkpoint-full", &[Ext4]), 2, 3_000) else {
        return;
    };
    let folder = trial.bench.checkpoint.clone();
    let fill = format!("cd {}; cat /dev/zero > filler; true", folder.display());
    trial.bench.place().script(&fill).expect("it fills up");
    trial.wait_for(Outcome::Ok, 100, Duration::from_secs(20));
    let collector = trial.bench.collector();
    wait_until(
        "the checkpoint error in the log",
        Duration::from_secs(10),
        || collector.log().contains("No space left on device"),
    );
    let free = format!("rm {}/filler", folder.display());
    trial.bench.place().script(&free).expect("our own file");
    let written = || {
        let newest = format!(
            "test -n \"$(find {} -newermt '-1 second' -name 'checkpoint-*')\"",
            folder.display()
        );
        trial.bench.place().script(&newest).is_ok()
    };
    wait_until("a new checkpoint", Duration::from_secs(10), written);
    trial.end(ANSWER_LIMIT);
}

#[test]
fn a_disk_fills_and_drains_and_fills_again() {
    let cycles = environment("FLUMEN_FAULT_DISK_CYCLES", 3);
    let layout = Layout {
        output_bytes: Some(512 << 20),
        ..layout("fills", &[Ext4])
    };
    let Some(mut trial) = Trial::start(layout, 3, 20_000) else {
        return;
    };
    let data = trial.bench.place().mount_point();
    let leave = format!("fallocate -l 90M {}/filler", data.display());
    trial.bench.place().script(&leave).expect("there is room");
    let output = trial.bench.output_inside().to_owned();
    for cycle in 0..cycles {
        let sink_full = format!(
            "cd {}; cat /dev/zero > ../output/.filler; true",
            output.display()
        );
        trial.bench.place().script(&sink_full).expect("it fills up");
        trial.wait_for(Outcome::Failed, 10, Duration::from_secs(60));
        trial.wait_unready("usable space exhausted");
        let free = format!("rm {}/.filler", output.display());
        trial.bench.place().script(&free).expect("our own file");
        let clock = Deadline::after(Duration::MAX);
        trial.recovers();
        println!("cycle {cycle}: served again after {:?}", clock.elapsed());
    }
    let attempts = trial.end(ANSWER_LIMIT);
    assert_eq!(
        count(&attempts, Outcome::Silence),
        0,
        "each call is answered"
    );
}

#[test]
fn one_full_disk_of_two_refuses_nothing() {
    let Some(mut trial) = Trial::start(layout("one-full", &[Ext4, Xfs]), 3, 20_000) else {
        return;
    };
    fill(&trial.bench.places[0]);
    let collector = trial.bench.collector();
    wait_until("the warning", Duration::from_secs(10), || {
        collector.log().contains("no new segments are made there")
    });
    let before = trial.now();
    // 200 kB each, of three clients: the log rolls several times.
    trial.wait_for(Outcome::Ok, 120, Duration::from_secs(60));
    let answers = trial.since(before);
    let refused = answers.len() - count(&answers, Outcome::Ok);
    assert_eq!(refused, 0, "there is room on the other disk");
    let room = format!("rm {}/filler", trial.bench.place().mount_point().display());
    trial.bench.place().script(&room).expect("our own file");
    let collector = trial.bench.collector();
    wait_until("the disk to be used again", Duration::from_secs(10), || {
        collector.log().contains("and it is used again")
    });
    trial.end(ANSWER_LIMIT);
}

/// What is on a full disk has to get off it, also after a restart.
#[test]
fn a_start_on_a_full_disk_delivers_what_is_there() {
    for file_system in FileSystem::ALL {
        let Some(mut bench) = Bench::with(layout("full-start", &[file_system])) else {
            return;
        };
        bench.start(Sink::Missing).expect("a start");
        let mut oracle = Oracle::new();
        let load = Load::start(LoadPlan::new("load", bench.port(), 3, 10));
        let acknowledged = || load.acknowledged() > 500;
        wait_until("a load", Duration::from_secs(20), acknowledged);
        load.stop(&mut oracle);
        bench.collector().kill();
        fill(bench.place());
        bench.runs_with(Sink::Files).launch_unready();
        wait_until("the backlog", Duration::from_secs(60), || {
            oracle.forget_arrivals();
            show(&mut oracle, &bench.output());
            oracle.complete()
        });
        oracle.assert_nothing_lost();
        let room = format!("rm {}/filler", bench.place().mount_point().display());
        bench.place().script(&room).expect("our own file");
        // It looks at the room once a second.
        wait_until("it to serve again", Duration::from_secs(60), || {
            bench.serves(Duration::from_secs(20)).is_ok()
        });
    }
}

/// Leaves no room. Most of it is taken without writing, which would keep the disk busy.
fn fill(place: &Place) {
    let fill = format!(
        "cd {}\n\
         most=$(( $(stat -f -c '%a * %S' .) - (4 << 20) ))\n\
         fallocate -l $most filler\n\
         for again in 1 2 3; do cat /dev/zero >> filler; sync -f .; done\n\
         test $(stat -f -c %a .) -lt 256 || {{ stat -f . >&2; exit 1; }}\n",
        place.mount_point().display()
    );
    place.script(&fill).expect("it fills up");
}

/// The disk says OK to one write and does something else: what it lost it lost, and that only.
#[test]
fn a_write_the_disk_loses_tears_or_puts_elsewhere_costs_its_block() {
    let (senders, batch) = (3, 10);
    for effect in [Effect::Lose, Effect::Tear(512), Effect::Misdirect(8192)] {
        let Some(mut bench) = Bench::with(layout("lies", &[Ext4])) else {
            return;
        };
        bench.start(Sink::Missing).expect("a start");
        let mut plan = LoadPlan::new("load", bench.port(), senders, batch);
        plan.body_bytes = 1_000;
        let mut oracle = Oracle::new();
        let load = Load::start(plan);
        let loaded = |events: u64| load.acknowledged() > events;
        wait_until("a load", Duration::from_secs(20), || loaded(500));
        let rule = Rule::on(Operation::Write, effect).of(Part::Blocks).times(1);
        bench.place().disk().inject(rule);
        let disk = bench.place().disk().clone();
        wait_until("the write", Duration::from_secs(20), || disk.hits() == 1);
        let before = load.acknowledged();
        wait_until("more load", Duration::from_secs(20), || {
            loaded(before + 500)
        });
        load.stop(&mut oracle);
        bench.collector().kill();
        bench.start(Sink::Files).expect("a start");
        let probe = bench.serves(Duration::from_secs(60)).expect("it serves");
        oracle.acknowledged(&probe.prefix, 0, 0, 0);
        show(&mut oracle, &bench.output());
        let findings = oracle.findings();
        let lost = findings.lost.len() as u64;
        println!("{effect:?}: {lost} of {} lost", findings.acknowledged);
        assert!(
            lost > 0,
            "{effect:?}: the disk did not keep what it said it had"
        );
        assert!(
            lost <= u64::from(senders) * batch,
            "{effect:?}: {lost} events lost"
        );
        assert_eq!(findings.altered, Vec::<String>::new(), "{effect:?}");
        assert!(
            findings.unknown.is_empty(),
            "{effect:?}: {:?}",
            findings.unknown
        );
        let collector = bench.collector();
        let named = format!("{lost} events");
        wait_until(&named, Duration::from_secs(5), || {
            collector.log().contains(&named)
        });
    }
}
