//! `flumen wal ls`, `inspect` and `verify` on a log at rest, with every kind of damage.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on says where")]

use std::fs;
use std::path::Path;

use serde_json::Value;

use super::wal_site::{
    Dirs, SEGMENT_HEADER, backlog_conf, fingerprints, flip, overwrite, send_blocks, start,
    stopped_log,
};
use crate::support::{Oracle, Scratch, free_port};

const EVENTS: u64 = 100;
const BLOCKS: u64 = 200;

/// Where the blocks of the log at rest are: found with `inspect`, so that the test knows no layout.
struct Layout {
    segments: Vec<Segment>,
}

/// The number in its name, and each block's offset and length.
struct Segment {
    slot: u64,
    blocks: Vec<(u64, u64)>,
}

impl Layout {
    fn of(dirs: &Dirs) -> Self {
        let listing = dirs.wal("ls", &["--json"]).json();
        let mut segments = Vec::new();
        for line in listing["shards"][0]["segments"].as_array().unwrap() {
            let Some(id) = line["segment"].as_u64() else {
                continue;
            };
            let file = line["file"].as_str().unwrap();
            let slot = (0..20).find(|slot| dirs.segment(*slot) == Path::new(file));
            let view = dirs
                .wal("inspect", &["--at", &id.to_string(), "--json"])
                .json();
            let blocks = view["blocks"].as_array().unwrap().iter();
            let place = |block: &Value| {
                (
                    block["offset"].as_u64().unwrap(),
                    block["bytes"].as_u64().unwrap(),
                )
            };
            segments.push(Segment {
                slot: slot.unwrap(),
                blocks: blocks.map(place).collect(),
            });
        }
        Self { segments }
    }

    fn slot(&self, index: usize) -> u64 {
        self.segments[index].slot
    }

    fn offset(&self, index: usize, block: usize) -> u64 {
        self.segments[index].blocks[block].0
    }

    fn block_count(&self, index: usize) -> u64 {
        self.segments[index].blocks.len() as u64
    }
}

/// One damage as a test expects it: kind, file, offset, blocks, events.
type Expected = (&'static str, String, u64, u64, u64);

fn found(answer: &Value) -> Vec<Expected> {
    let damage = answer["damage"].as_array().unwrap().iter();
    damage
        .map(|one| {
            let kinds = [
                "block",
                "segment_header",
                "segment_length",
                "missing",
                "twins",
                "foreign_shard",
                "checkpoint",
                "content",
            ];
            let kind = kinds.into_iter().find(|kind| one["kind"] == *kind).unwrap();
            let file = Path::new(one["file"].as_str().unwrap());
            (
                kind,
                file.file_name().unwrap().to_string_lossy().into_owned(),
                one["offset"].as_u64().unwrap(),
                one["blocks"].as_u64().unwrap(),
                one["events"].as_u64().unwrap(),
            )
        })
        .collect()
}

fn name(slot: u64) -> String {
    format!("segment-{slot:08}.wal")
}

#[test]
fn verify_names_each_kind_of_damage_with_its_file_and_exact_counts() {
    let (scratch, dirs, _) = stopped_log("wal-verify", BLOCKS, EVENTS);
    let layout = Layout::of(&dirs);
    assert!(layout.segments.len() >= 3, "{}", layout.segments.len());
    let sound = dirs.wal("verify", &["--json"]);
    assert_eq!(sound.code, 0, "{}", sound.text());
    let sound = sound.json();
    assert_eq!(sound["outcome"], "sound");
    assert_eq!(sound["shards"][0]["events"], BLOCKS * EVENTS);
    assert_eq!(sound["shards"][0]["blocks"], BLOCKS);
    assert_eq!(sound["shards"][0]["tail"]["state"], "clean");

    let mut number = 0;
    let mut check = |what: &str, damage: &dyn Fn(&Dirs), expected: &[Expected]| {
        number += 1;
        let copy = dirs.copy(&scratch.folder(&format!("case-{number}")));
        damage(&copy);
        let before = fingerprints(&copy.data);
        let answer = copy.wal("verify", &["--json"]);
        assert_eq!(answer.code, 65, "{what}: {}", answer.text());
        let report = answer.json();
        assert_eq!(report["outcome"], "damaged", "{what}");
        assert_eq!(found(&report), expected, "{what}: {}", answer.text());
        let events: u64 = expected.iter().map(|one| one.4).sum();
        let blocks: u64 = expected.iter().map(|one| one.3).sum();
        assert_eq!(report["lost_blocks"], blocks, "{what}");
        assert_eq!(report["lost_events"], events, "{what}");
        assert_eq!(report["undelivered_events"], events, "{what}");
        let text = copy.wal("verify", &[]);
        assert_eq!(text.code, 65, "{what}");
        assert!(text.text().contains("DAMAGE"), "{what}: {}", text.text());
        assert_eq!(
            before,
            fingerprints(&copy.data),
            "{what}: it changed a file"
        );
        fs::remove_dir_all(copy.data.parent().unwrap()).unwrap();
    };
    let (first, second, last) = (0, 1, layout.segments.len() - 1);
    let in_middle = layout.offset(second, 7);
    let block = |slot: u64, offset: u64, blocks: u64| -> Expected {
        ("block", name(slot), offset, blocks, blocks * EVENTS)
    };

    check(
        "a bit of a payload",
        &|dirs| flip(&dirs.segment(layout.slot(second)), in_middle + 700),
        &[block(layout.slot(second), in_middle, 1)],
    );
    check(
        "a bit of a block header",
        &|dirs| flip(&dirs.segment(layout.slot(second)), in_middle + 45),
        &[block(layout.slot(second), in_middle, 1)],
    );
    check(
        "the header of the first block of a segment",
        &|dirs| flip(&dirs.segment(layout.slot(second)), SEGMENT_HEADER + 30),
        &[block(layout.slot(second), SEGMENT_HEADER, 1)],
    );
    check(
        "a zeroed sector and a damage elsewhere",
        &|dirs| {
            overwrite(&dirs.segment(layout.slot(second)), in_middle, &[0; 4096]);
            flip(
                &dirs.segment(layout.slot(first)),
                layout.offset(first, 3) + 900,
            );
        },
        &[
            block(layout.slot(first), layout.offset(first, 3), 1),
            block(layout.slot(second), in_middle, 1),
        ],
    );
    check(
        "two blocks in a row",
        &|dirs| {
            flip(&dirs.segment(layout.slot(second)), in_middle + 700);
            flip(
                &dirs.segment(layout.slot(second)),
                layout.offset(second, 8) + 20,
            );
        },
        &[block(layout.slot(second), in_middle, 2)],
    );
    check(
        "a block in the place of another one: a write that went astray",
        &|dirs| {
            let path = dirs.segment(layout.slot(second));
            let content = fs::read(&path).unwrap();
            let (from, length) = layout.segments[second].blocks[3];
            let from = usize::try_from(from).unwrap();
            let length = usize::try_from(length).unwrap();
            overwrite(&path, in_middle, &content[from..from + length]);
        },
        &[block(layout.slot(second), in_middle, 1)],
    );
    let last_block = layout.segments[last].blocks.len() - 1;
    check(
        "the last block, which the checkpoint knows",
        &|dirs| {
            flip(
                &dirs.segment(layout.slot(last)),
                layout.offset(last, last_block) + 333,
            );
        },
        &[block(layout.slot(last), layout.offset(last, last_block), 1)],
    );
    let all_of = |index: usize, kind: &'static str, file: String, offset: u64| -> Expected {
        let blocks = layout.block_count(index);
        (kind, file, offset, blocks, blocks * EVENTS)
    };
    for index in [first, second, last] {
        check(
            "a segment header",
            &|dirs| flip(&dirs.segment(layout.slot(index)), 33),
            &[all_of(index, "segment_header", name(layout.slot(index)), 0)],
        );
        check(
            "a blank segment header, as of a spare",
            &|dirs| overwrite(&dirs.segment(layout.slot(index)), 0, &[0; 4096]),
            &[all_of(index, "segment_header", name(layout.slot(index)), 0)],
        );
    }
    check(
        "a segment of another shard",
        &|dirs| {
            let path = dirs.segment(layout.slot(second));
            let mut content = fs::read(&path).unwrap();
            let (header, _) = content.split_at_mut(68);
            let mut decoded = flumen::channel::wal::SegmentHeader::decode(header).unwrap();
            decoded.shard = 7;
            decoded.encode(header);
            overwrite(&path, 0, header);
        },
        &[all_of(
            second,
            "foreign_shard",
            name(layout.slot(second)),
            0,
        )],
    );
    let end_of_first = {
        let (offset, bytes) = *layout.segments[first].blocks.last().unwrap();
        offset + bytes
    };
    check(
        "a segment in the middle that is gone",
        &|dirs| fs::remove_file(dirs.segment(layout.slot(second))).unwrap(),
        &[all_of(
            second,
            "missing",
            name(layout.slot(first)),
            end_of_first,
        )],
    );
    check(
        "the first segment gone",
        &|dirs| fs::remove_file(dirs.segment(layout.slot(first))).unwrap(),
        &[all_of(first, "missing", "shard-000".to_owned(), 0)],
    );
    check(
        "a data directory that is empty",
        &|dirs| {
            fs::remove_dir_all(&dirs.data).unwrap();
            fs::create_dir(&dirs.data).unwrap();
        },
        &[(
            "missing",
            "shard-000".to_owned(),
            0,
            BLOCKS,
            BLOCKS * EVENTS,
        )],
    );
    check(
        "two files with one segment id",
        &|dirs| {
            fs::copy(dirs.segment(layout.slot(second)), dirs.segment(77)).unwrap();
            // The copy lacks its last block, so the log goes on behind the other.
            let at = layout.offset(second, layout.segments[second].blocks.len() - 1);
            overwrite(&dirs.segment(77), at, &[0; 4096]);
        },
        &[{
            let blocks = layout.block_count(second) - 1;
            ("twins", name(77), 0, blocks, blocks * EVENTS)
        }],
    );
    check(
        "a file cut short",
        &|dirs| {
            let path = dirs.segment(layout.slot(last));
            let at = layout.offset(last, last_block);
            let file = fs::OpenOptions::new().write(true).open(path).unwrap();
            file.set_len(at + 4096).unwrap();
        },
        &[
            (
                "segment_length",
                name(layout.slot(last)),
                layout.offset(last, last_block) + 4096,
                0,
                0,
            ),
            block(layout.slot(last), layout.offset(last, last_block), 1),
        ],
    );
    check(
        "a checkpoint",
        &|dirs| flip(&dirs.checkpoint.join("checkpoint-1"), 31),
        &[("checkpoint", "checkpoint-1".to_owned(), 0, 0, 0)],
    );
    check(
        "a checkpoint of another log",
        &|dirs| {
            let path = dirs.checkpoint.join("checkpoint-1");
            let content = fs::read(&path).unwrap();
            let mut read = flumen::channel::wal::Checkpoint::decode(&content).unwrap();
            read.shards[0].end_epoch ^= 1;
            fs::write(&path, read.encode()).unwrap();
        },
        &[("checkpoint", "checkpoint".to_owned(), 0, 0, 0)],
    );
}

/// What the lane demands of verify for one flipped bit of a payload.
fn flipped_payload_is_reported(dirs: &Dirs, defence: &str) -> Result<(), String> {
    let answer = dirs.wal_without(defence, "verify", &["--json"]);
    let report = answer.json();
    match (answer.code, report["lost_blocks"].as_u64()) {
        (65, Some(1)) => Ok(()),
        _ => Err(answer.text()),
    }
}

#[test]
fn verify_that_does_not_hold_payloads_against_their_checksums_is_caught() {
    let (_scratch, dirs, _) = stopped_log("wal-planted", 20, 50);
    let layout = Layout::of(&dirs);
    flip(&dirs.segment(layout.slot(0)), layout.offset(0, 5) + 1_000);
    assert_eq!(flipped_payload_is_reported(&dirs, ""), Ok(()));
    let missed = flipped_payload_is_reported(&dirs, "payload-checksum");
    assert!(missed.is_err(), "the check cannot fail: {missed:?}");
}

#[test]
fn a_torn_tail_is_no_damage_and_is_named() {
    let scratch = Scratch::new("wal-torn");
    let (port, folder) = (free_port(), scratch.folder("wal"));
    let mut flumen = start(&backlog_conf(port, &folder));
    let mut oracle = Oracle::new();
    send_blocks(port, "torn", 20, 50, &mut oracle);
    flumen.kill();
    let dirs = Dirs::below(&folder);
    for file in fs::read_dir(&dirs.checkpoint).unwrap().flatten() {
        // As if the last block had been written after the last checkpoint.
        if file
            .file_name()
            .to_string_lossy()
            .starts_with("checkpoint-")
        {
            fs::remove_file(file.path()).unwrap();
        }
    }
    let layout = Layout::of(&dirs);
    flip(&dirs.segment(layout.slot(0)), layout.offset(0, 19) + 1_000);
    let answer = dirs.wal("verify", &["--json"]);
    assert_eq!(answer.code, 0, "{}", answer.text());
    let report = answer.json();
    assert_eq!(report["shards"][0]["tail"]["state"], "torn");
    assert_eq!(report["shards"][0]["tail"]["events"], 50);
    assert_eq!(report["shards"][0]["events"], 950);
    assert!(dirs.wal("verify", &[]).text().contains("not told OK"));
}
