//! What an operator does to a log from outside an agent: `flumen wal`.
//!
//! On the code that recovery and the drain read a log with. `command` runs one of `listing`,
//! `inspection`, `verification`, `export` and `repair`; each stands on `site` (where the log is),
//! `survey` (what lies there) and `walk` (its blocks in order). All but `repair` look and touch
//! nothing, so they may be used while an agent runs. `docs/TOOLS.md` is for those who use them.

mod collector;
mod command;
mod content;
mod damage;
mod error;
mod export;
mod inspection;
mod inspection_view;
mod json_lines;
mod listing;
mod meter;
mod outlet;
mod repair;
mod salvage;
mod selection;
mod shard_verification;
mod site;
mod survey;
mod suspect;
mod tail;
mod twins;
mod verification;
mod walk;

pub use command::run;
