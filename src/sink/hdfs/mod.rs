//! `hdfs`: events into files of HDFS or the local file system, named and rolled as Flume does it.

mod bucket_writer;
mod client;
mod codec;
mod error;
mod format;
mod local_file;
mod orphan;
mod sequence_file;
mod sink;
mod site_xml;

pub(crate) use local_file::LocalFile;

pub use error::FileSystemError;
pub use sink::HdfsSink;
