//! What `up` is doing, while it starts.

use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

const STEPS: u64 = 5;

pub struct Progress {
    bar: ProgressBar,
    since: Instant,
}

impl Progress {
    pub fn start() -> Self {
        let bar = ProgressBar::new(STEPS);
        // The template is a constant; a wrong one would only fall back to the default look.
        if let Ok(style) = ProgressStyle::with_template("{spinner} [{pos}/{len}] starting {msg} ({elapsed})") {
            bar.set_style(style);
        }
        bar.enable_steady_tick(Duration::from_millis(100));
        Self { bar, since: Instant::now() }
    }

    pub fn step(&self, name: &'static str) {
        self.bar.inc(1);
        self.bar.set_message(name);
        if self.bar.is_hidden() {
            eprintln!("starting {name}");
        }
    }

    pub fn finish(&self) {
        self.bar.finish_and_clear();
        eprintln!("started in {:.1} s", self.since.elapsed().as_secs_f32());
    }

    pub fn fail(&self) {
        self.bar.abandon();
    }
}
