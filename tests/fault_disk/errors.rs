//! exploration
use std::time::Duration;
use rustix::io::Errno;
use crate::bench::*;
use crate::caller::*;
use crate::disk::*;
use crate::support::clock::pause;
use crate::support::http;

fn explore(data: &[FileSystem], rule: Rule, hold: Duration) {
    let Some(mut bench) = Bench::with(Layout { name: "explore", data, checkpoint: CheckpointOn::Memory(1 << 20), output_bytes: None, without: "" }) else { return };
    bench.start(Sink::Files).unwrap();
    let caller = Caller::start("c", bench.port(), 300);
    caller.wait_for(Outcome::Ok, 50, Duration::from_secs(10));
    let t = caller.now();
    bench.place().disk().inject(rule.clone());
    let mut at = Duration::ZERO;
    while at < hold {
        pause(Duration::from_millis(250)); at += Duration::from_millis(250);
        if at.as_millis() % 1000 == 0 {
            println!("{at:?} ready {:?}", http::get(bench.collector().admin_port(), "/readyz"));
        }
    }
    bench.place().disk().heal();
    let h = caller.now();
    pause(Duration::from_secs(8));
    println!("after heal ready {:?}", http::get(bench.collector().admin_port(), "/readyz"));
    for (a, b) in [(Duration::ZERO, t), (t, h), (h, h * 100)] {
        let calls: Vec<_> = caller.since(a).into_iter().filter(|c| c.at < b).collect();
        for o in [Outcome::Ok, Outcome::Failed, Outcome::Silence] {
            let of: Vec<_> = calls.iter().filter(|c| c.outcome == o).collect();
            println!("{a:?}..{b:?} {o:?}: {} max {:?} first {:?} last {:?}", of.len(), of.iter().map(|c| c.took).max(), of.first().map(|c| c.at), of.last().map(|c| c.at));
        }
    }
    let log = bench.place().disk().take_log();
    for l in log.entries.iter().rev().take(12) { match &l.entry { crate::disk::log::Entry::Write{offset, bytes} => println!("W {offset} {} {:?}", bytes.len(), Content::of(bytes)), e => println!("{e:?}") } }
    println!("hits {} wrong {:?}", bench.place().disk().hits(), log.written_after_failure());
    println!("{}", bench.collector().log().lines().filter(|l| !l.contains("INFO")).take(30).collect::<Vec<_>>().join("\n"));
}

#[test]
fn x_write_eio() { explore(&[FileSystem::Ext4], Rule::on(Operation::Write, Effect::Fail(Errno::IO)).of(Part::Blocks).times(1), Duration::from_secs(3)); }
#[test]
fn x_flush_eio() { explore(&[FileSystem::Ext4], Rule::on(Operation::Flush, Effect::Fail(Errno::IO)).of(Part::Blocks).times(1), Duration::from_secs(3)); }
#[test]
fn x_dead() { explore(&[FileSystem::Ext4, FileSystem::Ext4], Rule::every(Effect::Fail(Errno::IO)), Duration::from_secs(12)); }
#[test]
fn x_stall2() { explore(&[FileSystem::Ext4, FileSystem::Ext4], Rule::every(Effect::Delay(Duration::from_secs(30))), Duration::from_secs(35)); }
#[test]
fn x_stall1() { explore(&[FileSystem::Ext4], Rule::every(Effect::Delay(Duration::from_secs(30))), Duration::from_secs(35)); }
