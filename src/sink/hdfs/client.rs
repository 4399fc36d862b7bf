//! The file system behind `hdfs.path`: HDFS (`hdfs://`, `viewfs://`, the default of core-site.xml) or
//! local files (`file://`).
//!
//! Lives on the sink's drain thread; cheap to clone for closes in the background. Every call is
//! bounded by `hdfs.callTimeout`, so a NameNode or DataNode that hangs becomes an error.
//!
//! Durable means `hsync`: every DataNode of the pipeline has flushed to its disk. Flume asks for
//! `hflush` (DataNode memory); hdfs-native has no such call, and the stronger one is what our promise
//! needs.

use std::future::Future;
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use hdfs_native::client::FileStatus;
use hdfs_native::file::FileWriter;
use hdfs_native::{Client, ClientBuilder, HdfsError, WriteOptions};
use tokio::time::timeout;
use tracing::warn;

use super::error::FileSystemError;
use super::local_file::{self, LocalFile};
use super::site_xml;
use crate::config::HdfsSinkConfig;
use crate::sink::escape::host_fqdn;

/// A connected file system. Cloning shares the connection.
#[derive(Debug, Clone)]
pub(super) struct FileSystem {
    kind: Kind,
    /// `scheme://authority` of `hdfs.path`, which calls leave out.
    root: String,
    call_timeout: Option<Duration>,
}

#[derive(Debug, Clone)]
enum Kind {
    Hdfs(Client),
    Local,
}

/// A file being written.
pub(super) struct OpenFile {
    writer: Writer,
    path: String,
    call_timeout: Option<Duration>,
}

enum Writer {
    Hdfs(Box<FileWriter>),
    Local(LocalFile),
}

/// What made the bytes durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Synced {
    /// A flush; the file stays open.
    Open,
    /// Closing it: erasure-coded files cannot be flushed.
    Closed,
}

impl FileSystem {
    /// Opens the file system that `path` (the literal start of `hdfs.path`) is on. Connects lazily.
    pub(super) fn open(config: &HdfsSinkConfig, path: &str) -> Result<Self, FileSystemError> {
        let root = root_of(path);
        let default_fs = match &config.hadoop_conf_dir {
            Some(directory) => site_xml::value(&directory.join("core-site.xml"), "fs.defaultFS"),
            None => None,
        };
        // Hadoop's own default is the local file system.
        let url = match (root.is_empty(), &default_fs) {
            (false, _) => root.to_owned(),
            (true, Some(default_fs)) => default_fs.clone(),
            (true, None) => "file:///".to_owned(),
        };
        let scheme = url.split(':').next().unwrap_or_default().to_owned();
        let kind = match scheme.as_str() {
            "hdfs" | "viewfs" => Kind::Hdfs(build_client(config, &url)?),
            "file" => Kind::Local,
            _ => {
                let path = path.to_owned();
                return Err(FileSystemError::Scheme { path, scheme });
            }
        };
        Ok(Self {
            kind,
            root: root.to_owned(),
            call_timeout: config.call_timeout,
        })
    }

    /// Creates `path`, which must not exist, and the directories above it.
    pub(super) async fn create(&self, path: &str) -> Result<OpenFile, FileSystemError> {
        let inner = self.inner(path);
        let writer = match &self.kind {
            Kind::Hdfs(client) => {
                let call = async {
                    let options = WriteOptions::default().overwrite(false);
                    client.create(inner, options).await
                };
                Writer::Hdfs(Box::new(self.hdfs("create", path, call).await?))
            }
            Kind::Local => {
                let call = LocalFile::create(Path::new(inner));
                Writer::Local(self.local("create", path, call).await?)
            }
        };
        Ok(OpenFile {
            writer,
            path: path.to_owned(),
            call_timeout: self.call_timeout,
        })
    }

    /// Renames a closed file. A rename whose answer was lost counts as done.
    pub(super) async fn rename(&self, from: &str, to: &str) -> Result<(), FileSystemError> {
        let renamed = match &self.kind {
            Kind::Hdfs(client) => {
                let call = client.rename(self.inner(from), self.inner(to), false);
                self.hdfs("rename", from, call).await
            }
            Kind::Local => {
                let call =
                    local_file::rename(Path::new(self.inner(from)), Path::new(self.inner(to)));
                self.local("rename", from, call).await
            }
        };
        let Err(error) = renamed else {
            return Ok(());
        };
        let gone = matches!(self.length(from).await, Ok(None));
        if gone && matches!(self.length(to).await, Ok(Some(_))) {
            return Ok(());
        }
        Err(error)
    }

    /// The length of a file, or none when there is no such file.
    pub(super) async fn length(&self, path: &str) -> Result<Option<u64>, FileSystemError> {
        let found = match &self.kind {
            Kind::Hdfs(client) => self
                .hdfs("stat", path, client.get_file_info(self.inner(path)))
                .await
                .map(|status: FileStatus| status.length as u64),
            Kind::Local => {
                let call = local_file::length(Path::new(self.inner(path)));
                self.local("stat", path, call).await
            }
        };
        match found {
            Ok(length) => Ok(Some(length)),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Removes a file.
    pub(super) async fn delete(&self, path: &str) -> Result<(), FileSystemError> {
        match &self.kind {
            Kind::Hdfs(client) => self
                .hdfs("delete", path, client.delete(self.inner(path), false))
                .await
                .map(|_was_there| ()),
            Kind::Local => {
                let call = local_file::remove(Path::new(self.inner(path)));
                self.local("delete", path, call).await
            }
        }
    }

    /// Takes the write lease away from whoever holds it: true once the file is closed and its length
    /// stands. Only for files of our own.
    pub(super) async fn recover_lease(&self, path: &str) -> Result<bool, FileSystemError> {
        match &self.kind {
            Kind::Hdfs(client) => {
                let call = client.recover_lease(self.inner(path));
                self.hdfs("recover lease of", path, call).await
            }
            Kind::Local => Ok(true),
        }
    }

    fn inner<'a>(&self, path: &'a str) -> &'a str {
        path.strip_prefix(self.root.as_str()).unwrap_or(path)
    }

    async fn hdfs<T>(
        &self,
        operation: &'static str,
        path: &str,
        call: impl Future<Output = Result<T, HdfsError>>,
    ) -> Result<T, FileSystemError> {
        bounded(self.call_timeout, operation, path, call)
            .await?
            .map_err(|source| hdfs_error(operation, path, source))
    }

    async fn local<T>(
        &self,
        operation: &'static str,
        path: &str,
        call: impl Future<Output = std::io::Result<T>>,
    ) -> Result<T, FileSystemError> {
        bounded(self.call_timeout, operation, path, call)
            .await?
            .map_err(|source| local_error(operation, path, source))
    }
}

impl OpenFile {
    /// Appends `bytes`. They are durable after [`OpenFile::sync`].
    pub(super) async fn write(&mut self, bytes: Vec<u8>) -> Result<(), FileSystemError> {
        let path = self.path.as_str();
        match &mut self.writer {
            Writer::Hdfs(writer) => {
                let call = writer.write_bytes(Bytes::from(bytes));
                bounded(self.call_timeout, "write", path, call)
                    .await?
                    .map(|_written| ())
                    .map_err(|source| hdfs_error("write", path, source))
            }
            Writer::Local(file) => bounded(self.call_timeout, "write", path, file.write(bytes))
                .await?
                .map_err(|source| local_error("write", path, source)),
        }
    }

    /// Makes everything written durable.
    pub(super) async fn sync(&mut self) -> Result<Synced, FileSystemError> {
        let path = self.path.as_str();
        match &mut self.writer {
            Writer::Hdfs(writer) => {
                match bounded(self.call_timeout, "hsync", path, writer.hsync()).await? {
                    Ok(()) => Ok(Synced::Open),
                    Err(HdfsError::UnsupportedFeature(reason)) => {
                        warn!("{path} cannot be flushed ({reason}); it is closed instead");
                        self.close().await?;
                        Ok(Synced::Closed)
                    }
                    Err(source) => Err(hdfs_error("hsync", path, source)),
                }
            }
            Writer::Local(file) => bounded(self.call_timeout, "fsync", path, file.sync())
                .await?
                .map(|()| Synced::Open)
                .map_err(|source| local_error("fsync", path, source)),
        }
    }

    /// Closes the file. After an error only lease recovery helps.
    pub(super) async fn close(&mut self) -> Result<(), FileSystemError> {
        let path = self.path.as_str();
        match &mut self.writer {
            Writer::Hdfs(writer) => bounded(self.call_timeout, "close", path, writer.close())
                .await?
                .map_err(|source| hdfs_error("close", path, source)),
            Writer::Local(file) => bounded(self.call_timeout, "fsync", path, file.sync())
                .await?
                .map_err(|source| local_error("fsync", path, source)),
        }
    }
}

/// Waits for `call`, at most `limit`.
async fn bounded<T>(
    limit: Option<Duration>,
    operation: &'static str,
    path: &str,
    call: impl Future<Output = T>,
) -> Result<T, FileSystemError> {
    let Some(limit) = limit else {
        return Ok(call.await);
    };
    timeout(limit, call)
        .await
        .map_err(|_elapsed| FileSystemError::Timeout {
            operation,
            path: path.to_owned(),
            limit,
        })
}

fn hdfs_error(operation: &'static str, path: &str, source: HdfsError) -> FileSystemError {
    FileSystemError::Hdfs {
        operation,
        path: path.to_owned(),
        source: Box::new(source),
    }
}

fn local_error(operation: &'static str, path: &str, source: std::io::Error) -> FileSystemError {
    FileSystemError::Local {
        operation,
        path: path.to_owned(),
        source,
    }
}

/// `scheme://authority` at the start of `path`, or nothing.
fn root_of(path: &str) -> &str {
    let Some(at) = path.find(":/") else {
        return "";
    };
    if path[..at].contains('/') {
        return "";
    }
    let Some(after) = path[at + 1..].strip_prefix("//") else {
        // `file:/data`: a scheme without an authority.
        return &path[..=at];
    };
    let authority = after.find('/').unwrap_or(after.len());
    &path[..at + 3 + authority]
}

fn build_client(config: &HdfsSinkConfig, url: &str) -> Result<Client, FileSystemError> {
    let mut builder = ClientBuilder::new().with_url(url);
    if let Some(directory) = &config.hadoop_conf_dir {
        builder = builder.with_config_dir(directory.to_string_lossy());
    }
    if let Some(user) = &config.proxy_user {
        builder = builder.with_user(user);
    }
    if let Some(principal) = &config.kerberos_principal {
        builder = builder.with_kerberos_principal(principal.replace("_HOST", &host_fqdn()));
    }
    if let Some(keytab) = &config.kerberos_keytab {
        if let Err(error) = std::fs::File::open(keytab) {
            let keytab = keytab.display();
            return Err(FileSystemError::Setting(format!(
                "hdfs.kerberosKeytab {keytab} cannot be read: {error}"
            )));
        }
        builder = builder.with_kerberos_keytab(keytab.to_string_lossy());
    }
    builder
        .build()
        .map_err(|source| hdfs_error("connect to", url, source))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn root_is_scheme_and_authority() {
        for (path, wanted) in [
            ("hdfs://nn:9000/a/b", "hdfs://nn:9000"),
            ("hdfs://cluster", "hdfs://cluster"),
            ("hdfs:///a", "hdfs://"),
            ("file:///a", "file://"),
            ("file:/a", "file:"),
            ("/a/b:/c", ""),
            ("relative", ""),
        ] {
            assert_eq!(root_of(path), wanted, "{path}");
        }
    }
}
