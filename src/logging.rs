//! Logs go to stderr: text for people, JSON when asked. Messages are readable, fields are queryable.

use std::backtrace::{Backtrace, BacktraceStatus};
use std::io::IsTerminal;
use std::panic::{self, PanicHookInfo};

use tracing_subscriber::EnvFilter;

use crate::config::{LogConfig, LogFormat};

pub fn init(config: &LogConfig) {
    let filter = EnvFilter::try_new(&config.filter).unwrap_or_else(|_| EnvFilter::new("info"));
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let colours = std::io::stderr().is_terminal();
    // Err means a subscriber is installed already: it stays.
    let _ = match config.format {
        LogFormat::Text => builder.with_ansi(colours).try_init(),
        LogFormat::Json => builder.json().flatten_event(true).try_init(),
    };
}

/// From now on a panic is a line of the log like any other failure.
pub fn take_panics() {
    panic::set_hook(Box::new(log_panic));
}

fn log_panic(panic: &PanicHookInfo<'_>) {
    let location = panic.location().map(ToString::to_string);
    let thread = std::thread::current();
    // Nothing unless RUST_BACKTRACE asks for it.
    let backtrace = Backtrace::capture();
    let backtrace = (backtrace.status() == BacktraceStatus::Captured).then(|| backtrace.to_string());
    tracing::error!(
        reason = panic.payload_as_str().unwrap_or("unknown"),
        location,
        thread = thread.name(),
        backtrace,
        "panicked"
    );
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::io::Write;
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Written(Arc<Mutex<Vec<u8>>>);

    impl Write for Written {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_panic_is_one_line_of_json() {
        let written = Written::default();
        let to = written.clone();
        let logging = tracing_subscriber::fmt().json().flatten_event(true).with_writer(move || to.clone()).finish();
        // Other tests of this process panic in threads of their own, and have no subscriber.
        take_panics();
        let panicking = || tracing::subscriber::with_default(logging, || panic!("two\nlines"));
        panic::catch_unwind(panic::AssertUnwindSafe(panicking)).unwrap_err();
        let _ = panic::take_hook();

        let text = String::from_utf8(written.0.lock().unwrap().clone()).unwrap();
        let line: serde_json::Value = serde_json::from_str(text.trim_end()).unwrap();
        assert_eq!((&line["message"], &line["reason"]), (&"panicked".into(), &"two\nlines".into()), "{line}");
        assert!(line["location"].as_str().unwrap().starts_with("src/logging.rs:"), "{line}");
    }
}
