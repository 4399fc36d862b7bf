//! Why a file system did not do what it was asked.

use std::time::Duration;

use hdfs_native::HdfsError;

/// One failed call, with the path it was for. All of them roll the batch back; the sink tries again.
#[derive(Debug, thiserror::Error)]
pub enum FileSystemError {
    /// No answer within `hdfs.callTimeout`.
    #[error("{operation} {path}: no answer within {} ms (hdfs.callTimeout)", .limit.as_millis())]
    Timeout {
        /// What was asked.
        operation: &'static str,
        /// For which path.
        path: String,
        /// How long we waited.
        limit: Duration,
    },
    /// HDFS refused or could not be reached.
    #[error("{operation} {path}: {source}")]
    Hdfs {
        /// What was asked.
        operation: &'static str,
        /// For which path.
        path: String,
        /// What HDFS or the network said.
        #[source]
        source: Box<HdfsError>,
    },
    /// The local file system refused.
    #[error("{operation} {path}: {source}")]
    Local {
        /// What was asked.
        operation: &'static str,
        /// For which path.
        path: String,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// A path on a file system we do not write to.
    #[error(
        "hdfs.path {path}: file systems of scheme '{scheme}' are not supported; \
         use hdfs://, viewfs:// or file://"
    )]
    Scheme {
        /// The path as configured.
        path: String,
        /// Its scheme.
        scheme: String,
    },
    /// A setting that cannot be used.
    #[error("{0}")]
    Setting(String),
}

impl FileSystemError {
    /// Whether the path exists already, so that another name will do.
    pub(crate) fn is_already_exists(&self) -> bool {
        self.is(
            "FileAlreadyExistsException",
            std::io::ErrorKind::AlreadyExists,
        ) || self.hdfs_is(|source| matches!(source, HdfsError::AlreadyExists(_)))
    }

    /// Whether the path does not exist.
    pub(crate) fn is_not_found(&self) -> bool {
        self.is("FileNotFoundException", std::io::ErrorKind::NotFound)
            || self.hdfs_is(|source| matches!(source, HdfsError::FileNotFound(_)))
    }

    /// Whether HDFS threw an exception of this class, or the system an error of this kind.
    fn is(&self, exception: &str, kind: std::io::ErrorKind) -> bool {
        if let Self::Local { source, .. } = self {
            return source.kind() == kind;
        }
        self.hdfs_is(
            |source| matches!(source, HdfsError::RPCError(class, _) if class.ends_with(exception)),
        )
    }

    fn hdfs_is(&self, test: impl Fn(&HdfsError) -> bool) -> bool {
        matches!(self, Self::Hdfs { source, .. } if test(source))
    }
}
