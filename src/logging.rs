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

/// From now on a panic is a line of the log like any other failure. Where `log.filter` keeps that out, it is told as before.
pub fn take_panics() {
    let before = panic::take_hook();
    panic::set_hook(Box::new(move |panic| match tracing::enabled!(tracing::Level::ERROR) {
        true => log_panic(panic),
        false => before(panic),
    }));
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

    /// What is logged of a panic with this filter.
    fn logged(filter: &str) -> String {
        let written = Written::default();
        let to = written.clone();
        let logging = tracing_subscriber::fmt().json().flatten_event(true).with_env_filter(filter);
        let logging = logging.with_writer(move || to.clone()).finish();
        let panicking = || tracing::subscriber::with_default(logging, || panic!("two\nlines"));
        panic::catch_unwind(panic::AssertUnwindSafe(panicking)).unwrap_err();
        let written = written.0.lock().unwrap().clone();
        String::from_utf8(written).unwrap()
    }

    /// One test, because the hook is the whole process's. Other tests panic in threads of their own, and have no subscriber.
    #[test]
    fn a_panic_is_one_line_of_json_or_told_as_before() {
        let told = Written::default();
        let to = told.clone();
        panic::set_hook(Box::new(move |panic| {
            to.clone().write_all(panic.payload_as_str().unwrap_or_default().as_bytes()).unwrap();
        }));
        take_panics();
        let text = logged("info");
        let told_of_logged = told.0.lock().unwrap().clone();
        let hidden = logged("relay=info");
        let _ = panic::take_hook();
        assert_eq!(hidden, "");
        assert!(
            String::from_utf8_lossy(&told.0.lock().unwrap()).contains("two\nlines"),
            "the hook of before is called"
        );
        assert!(!String::from_utf8_lossy(&told_of_logged).contains("two\nlines"), "no panic is told twice");

        let line: serde_json::Value = serde_json::from_str(text.trim_end()).unwrap();
        assert_eq!((&line["message"], &line["reason"]), (&"panicked".into(), &"two\nlines".into()), "{line}");
        assert!(line["location"].as_str().unwrap().starts_with("src/logging.rs:"), "{line}");
    }
}
