//! `hdfs`.

mod codec;
mod sequence_file;
