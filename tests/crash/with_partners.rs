//! Real Flume clients in front, Kafka, HDFS and files behind, and any of them but the clients killed at any
//! moment: nothing acknowledged is lost at any sink.

use std::time::Duration;

use crate::blow::{Tally, assert_duplicates_bounded};
use crate::random::{Random, rounds};
use crate::site::Site;
use crate::support::Deadline;

/// Kills of the collector between two looks at the output.
const KILLS_PER_LOOK: u32 = 80;
/// Kills before a look while which the targets come back: their JVMs take their time to start.
const QUIET_KILLS: u32 = 8;
/// From the end of a load until everything is delivered: a broker and an HDFS come back first.
const PATIENCE: Duration = Duration::from_secs(150);

#[test]
fn nothing_acknowledged_is_lost_at_any_sink_when_anything_is_killed() {
    let wanted = rounds();
    let mut random = Random::of_environment("with partners");
    let mut site = Site::start();
    let clock = Deadline::after(Duration::MAX);
    let (mut tally, mut acknowledged) = (Tally::default(), 0);
    while tally.collector() < wanted {
        let until = wanted.min(tally.collector() + KILLS_PER_LOOK);
        let before = tally;
        let mut sending = site.send(&mut random);
        let began = clock.elapsed();
        while tally.collector() < until {
            let quiet = tally.collector() + QUIET_KILLS >= until;
            site.one_round(&mut sending, quiet, &mut random, &mut tally);
        }
        let kills = tally.collector() - before.collector();
        let (in_flight, served) = (sending.in_flight, sending.served);
        let load = clock.elapsed() - began;
        let found = site.look(sending, PATIENCE).found;
        let look = clock.elapsed() - began - load;
        println!(
            "{tally}; load {:.1} s, look {:.1} s",
            load.as_secs_f64(),
            look.as_secs_f64()
        );
        acknowledged += found[0].1.acknowledged;
        for (sink, findings) in &found {
            println!(
                "  {sink}: {} acknowledged, {} delivered, {} duplicates, {} torn",
                findings.acknowledged, findings.delivered, findings.duplicates, findings.torn
            );
        }
        for (sink, findings) in found {
            findings.assert_nothing_lost(sink);
            findings.assert_in_order(sink);
            // Only files always keep up. A sink whose target was away comes back to a backlog, takes it at
            // once, and a kill before its progress is written repeats all of that.
            if sink == "files" {
                assert_duplicates_bounded(&findings, kills, in_flight, served);
            }
        }
    }
    println!(
        "with partners: {tally}; {acknowledged} events acknowledged, none lost, none altered at any sink; {:.0} s",
        clock.elapsed().as_secs_f64()
    );
}
