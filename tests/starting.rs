//! What `up` says when it cannot start, and what the commands say without an instance.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::process::{Command, Output};

use support::{binary, free_port};

fn order_ledger(arguments: &[&str], environment: &[(&str, &str)]) -> Output {
    Command::new(binary()).args(arguments).envs(environment.iter().copied()).output().unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn a_taken_port_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let output = order_ledger(
        &["up"],
        &[("LEDGER__DATA_DIR", directory.path().to_str().unwrap()), ("LEDGER__HTTP__LISTEN", &address)],
    );
    assert_eq!(output.status.code(), Some(1));
    assert!(
        stderr(&output).contains(&address) && stderr(&output).contains("LEDGER__HTTP__LISTEN"),
        "{}",
        stderr(&output)
    );
}

#[test]
fn a_directory_that_cannot_be_written_is_named() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let inside_a_file = file.path().join("data");
    let listen = format!("127.0.0.1:{}", free_port());
    let output = order_ledger(
        &["up"],
        &[("LEDGER__DATA_DIR", inside_a_file.to_str().unwrap()), ("LEDGER__HTTP__LISTEN", &listen)],
    );
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("is not writable"), "{}", stderr(&output));
    assert!(stderr(&output).contains(inside_a_file.to_str().unwrap()), "{}", stderr(&output));
}

#[test]
fn a_wrong_setting_stops_the_start_with_one_line_that_names_the_key() {
    for (variable, value, key) in [
        ("LEDGER__ORDER__EXPIRE_AFTER_SECONDS", "soon", "order.expire_after_seconds"),
        ("LEDGER__ORDER__EXPIRE_AFTER_SECONDS", "0", "order.expire_after_seconds"),
        ("LEDGER__STOCK__LOCK_TIME_SECONDS", "-5", "stock.lock_time_seconds"),
        ("LEDGER__HTTP__LISTEN", "everywhere", "http.listen"),
        ("LEDGER__ROCKETMQ__NAME_SERVER", "nowhere", "rocketmq.name_server"),
        ("LEDGER__DATABASE__MAX_CONNECTIONS", "1", "database.max_connections"),
        // Whoever has the callback secret can say that a payment succeeded: it is not lent to others.
        ("LEDGER__PAYMENT__PROVIDER_URL", "https://provider.example", "payment.provider_api_key"),
        ("LEDGER__PAYMENT__RESULT_CALLBACK_HOSTS", "shop.example", "payment.result_callback_secret"),
    ] {
        let output = order_ledger(&["up"], &[(variable, value)]);
        assert_eq!(output.status.code(), Some(2), "{variable}={value}");
        let said = stderr(&output);
        assert!(said.contains(key) && said.trim().lines().count() == 1, "{variable}={value}: {said}");
    }
}

#[test]
fn a_wrong_setting_is_named_and_not_repeated_because_it_may_be_a_secret() {
    let secret = "123456789012345678";
    let output = order_ledger(&["config"], &[("LEDGER__AUTH__TOKEN_KEY", secret)]);
    let said = stderr(&output);
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains("auth.token_key") && !said.contains(secret), "{said}");
}

#[test]
fn without_an_instance_a_command_says_how_to_start_one() {
    let directory = tempfile::tempdir().unwrap();
    for arguments in [&["lag"][..], &["verify"], &["events"], &["migrate"]] {
        let output = order_ledger(arguments, &[("LEDGER__DATA_DIR", directory.path().to_str().unwrap())]);
        assert_eq!(output.status.code(), Some(1), "{arguments:?}");
        assert!(stderr(&output).contains("order-ledger up"), "{arguments:?}: {}", stderr(&output));
    }
}

#[test]
fn the_configuration_is_printed_with_its_secrets_masked() {
    let secret = "whsec_c2VjcmV0LXNlY3JldC1zZWNyZXQ=";
    for arguments in [&["config"][..], &["config", "--json"]] {
        let output = order_ledger(arguments, &[("LEDGER__PAYMENT__CALLBACK_SECRET", secret)]);
        let printed = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success() && printed.contains("expire_after_seconds"), "{printed}");
        assert!(!printed.contains(secret), "{printed}");
    }
}

#[test]
fn an_unknown_command_is_a_usage_error() {
    assert_eq!(order_ledger(&["fly"], &[]).status.code(), Some(2));
    assert_eq!(order_ledger(&["process", "--role", "fly"], &[]).status.code(), Some(2));
}
