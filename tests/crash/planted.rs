//! The lanes fail when the collector lacks a defence: the same rounds as theirs, one defence removed
//! (`FLUMEN_WITHOUT`), and the oracle has to find events that are lost, altered or invented.
//!
//! Here are the defences that a killed process misses. A kill keeps what the kernel has, and a block that was
//! begun is written whole: 100 kills each without `epoch`, `place`, `chain`, `last-copy`, `checkpoint-fits`
//! and `payload-checksum` showed nothing, and `cursor-in-block` was found once after 72 kills and once not
//! after 204. They are planted where power is cut and disks lie.
//!
//! | without                 | what a kill then shows                                                  |
//! |-------------------------|-------------------------------------------------------------------------|
//! | `ack-after-write`       | acknowledged blocks that were never written                             |
//! | `cursor-after-delivery` | events that a sink had taken and its target had not                     |
//! | `file-write`            | lines that were committed in a buffer                                   |
//! | `delivery-report`       | records that were committed in librdkafka's queue                       |
//! | `hdfs-flush`            | lines that were committed in the sink's buffer                          |

use std::time::Duration;

use crate::blow::Tally;
use crate::random::Random;
use crate::site::{SINKS, Site};
use crate::under_load;

/// Kills within which the oracle must have seen it.
const KILLS_MAX: u32 = 600;
/// Kills before a look while which the targets come back.
const QUIET_KILLS: u32 = 4;
/// Kills between two looks: the sooner one looks, the sooner it is over.
const KILLS_PER_LOOK: u32 = 10;
/// As the lane's own: what is only late must not count as lost.
const PATIENCE: Duration = Duration::from_secs(150);

fn under_load_finds(defence: &str) {
    let mut random = Random::of_environment(defence);
    let mut site = under_load::Site::start_without(defence);
    let mut tally = Tally::default();
    while tally.collector() < KILLS_MAX {
        let look = site.load_and_look(KILLS_PER_LOOK, &mut random, &mut tally);
        let findings = look.findings;
        if findings.is_broken() {
            let lost = findings.lost.len();
            println!("without {defence}: {lost} lost after {tally}");
            return;
        }
    }
    panic!("without {defence}, and nothing was missed after {tally}");
}

#[test]
fn an_answer_before_the_write_is_found() {
    under_load_finds("ack-after-write");
}

#[test]
fn a_commit_of_lines_in_a_buffer_is_found() {
    under_load_finds("file-write");
}

/// One site for all that needs partners: a broker and an HDFS take half a minute to start.
#[test]
fn a_commit_before_the_target_has_it_is_found_where_it_is() {
    let mut random = Random::of_environment("planted");
    let mut site = Site::start();
    for (defence, sinks) in [
        ("delivery-report", &["kafka"][..]),
        ("hdfs-flush", &["hdfs"]),
        ("cursor-after-delivery", &SINKS),
    ] {
        site.plant(defence);
        let mut tally = Tally::default();
        loop {
            let until = tally.collector() + KILLS_PER_LOOK;
            assert!(
                until <= KILLS_MAX,
                "without {defence}, and nothing was missed after {tally}"
            );
            let mut sending = site.send(&mut random);
            while tally.collector() < until {
                let quiet = tally.collector() + QUIET_KILLS >= until;
                site.one_round(&mut sending, quiet, &mut random, &mut tally);
            }
            let look = site.look(sending, PATIENCE);
            let mut broken = Vec::new();
            for (sink, findings) in look.found {
                if look.settled && findings.is_broken() {
                    assert!(sinks.contains(&sink), "without {defence}, {sink} is broken");
                    broken.push(format!("{} at {sink}", findings.lost.len()));
                }
            }
            if !broken.is_empty() {
                println!(
                    "without {defence}: lost {} after {tally}",
                    broken.join(", ")
                );
                break;
            }
        }
    }
}
