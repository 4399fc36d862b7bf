//! Reads what `file_roll` sinks wrote with the TEXT serializer: one body a line.

use std::fs;
use std::path::{Path, PathBuf};

use super::oracle::Oracle;

/// Files of a folder in the order they were written: names are `<millis>-<counter>`.
pub fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut files: Vec<PathBuf> = entries
        .map(|entry| entry.path())
        .filter(|path| path.is_file())
        .collect();
    files.sort_by_key(|path| {
        let name = path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        let (millis, counter) = name.split_once('-').unwrap_or((&name, "0"));
        (
            millis.parse::<u64>().unwrap_or(0),
            counter.parse::<u64>().unwrap_or(0),
        )
    });
    files
}

/// All whole lines of a folder's files, in order; the second value counts files that end in half a line.
pub fn lines(folder: &Path) -> (Vec<Vec<u8>>, u64) {
    let mut lines = Vec::new();
    let mut torn = 0;
    for file in files(folder) {
        let bytes = fs::read(&file).expect("the sink's file can be read");
        let mut pieces: Vec<&[u8]> = bytes.split(|&byte| byte == b'\n').collect();
        if pieces.pop().is_some_and(|tail| !tail.is_empty()) {
            torn += 1;
        }
        lines.extend(pieces.into_iter().map(<[u8]>::to_vec));
    }
    (lines, torn)
}

/// Shows the oracle all that a folder holds now.
pub fn show(folder: &Path, oracle: &mut Oracle) {
    let (lines, torn) = lines(folder);
    lines.iter().for_each(|line| oracle.arrived(line));
    (0..torn).for_each(|_| oracle.torn());
}
