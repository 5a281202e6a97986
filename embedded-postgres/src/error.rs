use std::path::PathBuf;

/// Why there is no server. Each message is meant to be read by the person who started it.
#[derive(Debug, thiserror::Error)]
pub enum EmbeddedPostgresError {
    /// Nothing usable installed, and nothing downloaded.
    #[error(
        "no PostgreSQL {} to {} found on PATH or in /usr/lib/postgresql, and the download failed: {download}",
        crate::binaries::OLDEST_MAJOR,
        crate::binaries::NEWEST_MAJOR
    )]
    NoBinaries { download: String },
    /// The configured directory holds no server that works.
    #[error("no working PostgreSQL in {}: {reason}", path.display())]
    BadBinaries { path: PathBuf, reason: String },
    /// A file or directory of ours cannot be made or read.
    #[error("cannot use {}: {source}", path.display())]
    Directory { path: PathBuf, source: std::io::Error },
    /// Somebody else runs on the same data.
    #[error("another PostgreSQL server (process {pid}) is running on {}", path.display())]
    InUse { path: PathBuf, pid: String },
    /// The port asked for belongs to somebody else.
    #[error("port {port} on 127.0.0.1 is taken")]
    PortTaken { port: u16 },
    /// `initdb` failed.
    #[error("could not create a database cluster in {}: {output}", path.display())]
    InitFailed { path: PathBuf, output: String },
    /// A program of PostgreSQL could not be executed.
    #[error("cannot run {}: {source}", program.display())]
    Spawn { program: PathBuf, source: std::io::Error },
    /// The server ended before it was ready.
    #[error("PostgreSQL did not start ({status}); the end of {}:\n{log_tail}", log.display())]
    StartFailed { status: String, log: PathBuf, log_tail: String },
    /// The server is alive and not ready.
    #[error("PostgreSQL was not ready after {seconds} s; the end of {}:\n{log_tail}", log.display())]
    StartTimeout { seconds: u64, log: PathBuf, log_tail: String },
    /// The server outlived its stop.
    #[error("PostgreSQL (pid {pid}) did not stop within {seconds} s")]
    StopTimeout { pid: u32, seconds: u64 },
    /// A test database could not be made.
    #[error("cannot create a test database: {0}")]
    Sql(#[from] postgres::Error),
}

impl EmbeddedPostgresError {
    pub(crate) fn directory(path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |source| Self::Directory { path, source }
    }
}
