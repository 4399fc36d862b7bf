//! Pieces of Flume properties that many tests need. A whole configuration is these joined.

use std::path::Path;

/// Agent `name` with Avro source `r` on `port`, file channel `c` below `folder`, and sinks `sinks` (their
/// own lines follow). Segments are small, so that tests start fast.
pub fn avro_to_file_channel(name: &str, port: u16, folder: &Path, sinks: &str) -> String {
    let folder = folder.display();
    prefixed(
        name,
        &format!(
            "sources = r\n\
             channels = c\n\
             sinks = {sinks}\n\
             sources.r.type = avro\n\
             sources.r.bind = 127.0.0.1\n\
             sources.r.port = {port}\n\
             sources.r.channels = c\n\
             channels.c.type = file\n\
             channels.c.checkpointDir = {folder}/checkpoint\n\
             channels.c.dataDirs = {folder}/data\n\
             channels.c.capacity = 1000000\n\
             channels.c.transactionCapacity = 10000\n\
             channels.c.maxFileSize = 16777216\n\
             channels.c.minimumRequiredSpace = 1048576\n"
        ),
    )
}

/// Sink `k` of channel `c`: one body a line into `folder`, one file.
pub fn file_roll_sink(name: &str, folder: &Path) -> String {
    let folder = folder.display();
    prefixed(
        name,
        &format!(
            "sinks.k.type = file_roll\n\
             sinks.k.channel = c\n\
             sinks.k.sink.directory = {folder}\n\
             sinks.k.sink.rollInterval = 0\n"
        ),
    )
}

/// Each line with `name.` in front.
pub fn prefixed(name: &str, lines: &str) -> String {
    lines
        .lines()
        .map(|line| format!("{name}.{line}\n"))
        .collect()
}
