use std::path::PathBuf;
use std::time::Duration;

/// How clients prove who they are. The server listens on loopback only in either case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Authentication {
    /// A random password, made with the data directory and kept beside it (mode 0600).
    Password,
    /// Every local process may connect: for tests.
    Trust,
}

/// What the server is to be. [`EmbeddedPostgresConfig::new`] has the defaults for real data.
#[derive(Clone, Debug)]
pub struct EmbeddedPostgresConfig {
    /// Everything of this server lives here: the cluster, its password, its log.
    pub data_dir: PathBuf,
    /// Where downloaded binaries are kept; by default a directory of the user, or of the system for root.
    pub cache_dir: Option<PathBuf>,
    /// Use the binaries in this directory, and look nowhere else.
    pub bin_dir: Option<PathBuf>,
    /// Skip the installed binaries and download.
    pub force_download: bool,
    /// A port to insist on; by default a free one, another at each start.
    pub port: Option<u16>,
    /// Takes effect when the data directory is made; a later start keeps what is there.
    pub authentication: Authentication,
    /// Off loses data when the machine stops: for tests only.
    pub fsync: bool,
    /// `shared_buffers`.
    pub shared_buffers_mib: u32,
    /// `max_connections`.
    pub max_connections: u32,
    /// How long a start may take, crash recovery included.
    pub start_timeout: Duration,
    /// How long a fast shutdown may take before the server is stopped the hard way.
    pub stop_timeout: Duration,
}

impl EmbeddedPostgresConfig {
    /// For data that must last: password, fsync on, sized for a small machine.
    pub fn new(data_dir: impl Into<PathBuf>) -> Self {
        Self {
            data_dir: data_dir.into(),
            cache_dir: None,
            bin_dir: None,
            force_download: false,
            port: None,
            authentication: Authentication::Password,
            fsync: true,
            shared_buffers_mib: 256,
            max_connections: 200,
            start_timeout: Duration::from_secs(120),
            stop_timeout: Duration::from_secs(30),
        }
    }

    /// For data that is thrown away: no password, no fsync, little memory, many connections.
    pub fn for_tests(data_dir: impl Into<PathBuf>) -> Self {
        Self {
            authentication: Authentication::Trust,
            fsync: false,
            shared_buffers_mib: 64,
            max_connections: 500,
            ..Self::new(data_dir)
        }
    }
}
