//! One `flumen wal` command: runs it, prints what it found, and chooses the exit code.

use std::fmt::Display;
use std::io::Write as _;
use std::process::ExitCode;

use futures_lite::future::block_on;
use serde::Serialize;

use super::error::{EXIT_DAMAGED, MaintenanceError};
use super::export::export;
use super::inspection_view::Inspection;
use super::listing::Listing;
use super::repair::Repair;
use super::site::Site;
use super::verification::{Outcome, Verification};
use crate::config::wal_command_line::{ExportArguments, WalCommand};

/// Something cannot be read, and that says nothing about what it holds (EX_NOINPUT).
const EXIT_UNREADABLE: u8 = 66;

/// Runs `command` to its end.
#[must_use]
pub fn run(command: &WalCommand) -> ExitCode {
    let outcome = match command {
        WalCommand::Ls(arguments) => Site::of(&arguments.log)
            .and_then(|site| block_on(Listing::of(&site)))
            .map(|listing| {
                print(&listing, arguments.json);
                match listing.unreadable.is_empty() {
                    true => 0,
                    false => EXIT_UNREADABLE,
                }
            }),
        WalCommand::Inspect(arguments) => block_on(Inspection::of(arguments)).map(|inspection| {
            print(&inspection, arguments.json);
            0
        }),
        WalCommand::Verify(arguments) => Site::of(&arguments.log)
            .and_then(|site| block_on(Verification::of(&site)))
            .map(|verification| {
                print(&verification, arguments.json);
                match verification.outcome {
                    Outcome::Sound => 0,
                    Outcome::Damaged => EXIT_DAMAGED,
                    Outcome::Unreadable => EXIT_UNREADABLE,
                }
            }),
        WalCommand::Export(arguments) => run_export(arguments),
        WalCommand::Repair(arguments) => Site::of(&arguments.log)
            .and_then(|site| block_on(Repair::of(&site, arguments.yes)))
            .map(|repair| {
                print(&repair, arguments.json);
                match repair.done || repair.actions.is_empty() {
                    true => 0,
                    false => EXIT_DAMAGED,
                }
            }),
    };
    match outcome {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            eprintln!("flumen: {error}");
            ExitCode::from(error.exit_code())
        }
    }
}

/// Events may go to standard output; what is said about them then goes to standard error.
fn run_export(arguments: &ExportArguments) -> Result<u8, MaintenanceError> {
    let (result, error) = block_on(export(arguments))?;
    let to_output = arguments.to.is_none() && arguments.output.as_os_str() == "-";
    let text = text(&result, arguments.json);
    match to_output {
        true => eprintln!("{}", text.trim_end()),
        false => print_text(&text),
    }
    match error {
        Some(error) => Err(error),
        None if result.lost_events > 0 => Ok(EXIT_DAMAGED),
        None => Ok(0),
    }
}

fn text(found: &(impl Display + Serialize), json: bool) -> String {
    let text = match json {
        true => serde_json::to_string_pretty(found).expect("plain data becomes JSON"),
        false => found.to_string(),
    };
    text.trim_end().to_owned() + "\n"
}

fn print(found: &(impl Display + Serialize), json: bool) {
    print_text(&text(found, json));
}

fn print_text(text: &str) {
    // A reader that closed the pipe has seen enough.
    drop(std::io::stdout().write_all(text.as_bytes()));
}
