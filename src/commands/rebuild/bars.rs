//! How far each rebuild is, one bar under the other. Where there is no terminal, one line when it begins to be compared.

use std::sync::Mutex;

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use projections::{Rebuild, RebuildState};

#[derive(Default)]
pub struct Bars {
    all: MultiProgress,
}

pub struct Bar {
    bar: ProgressBar,
    told: Mutex<Option<RebuildState>>,
}

impl Bars {
    pub fn add(&self, name: &str) -> Bar {
        let bar = self.all.add(ProgressBar::new(0));
        // The template is a constant; a wrong one would only fall back to the default look.
        if let Ok(style) = ProgressStyle::with_template("{prefix:14} {bar:32} {percent:>3}%  {msg}") {
            bar.set_style(style);
        }
        bar.set_prefix(name.to_owned());
        Bar { bar, told: Mutex::new(None) }
    }
}

impl Bar {
    pub fn show(&self, rebuild: &Rebuild) {
        self.bar.set_length(rebuild.target.max(1).unsigned_abs());
        self.bar.set_position(rebuild.position.unsigned_abs());
        self.bar.set_message(words(rebuild));
        if self.bar.is_hidden() && self.is_news(rebuild.state) {
            eprintln!("{}: version {}, {}", rebuild.name, rebuild.version, words(rebuild));
        }
    }

    pub fn finish(&self) {
        self.bar.finish();
    }

    fn is_news(&self, state: RebuildState) -> bool {
        // A poisoned lock holds a state as good as any.
        let mut told = self.told.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let is_news = *told != Some(state);
        *told = Some(state);
        is_news
    }
}

fn words(rebuild: &Rebuild) -> String {
    let Rebuild { position, target, .. } = rebuild;
    match rebuild.state {
        RebuildState::Running => match (rebuild.events_per_second, rebuild.eta_seconds()) {
            (Some(rate), Some(eta)) => format!("{position} of {target}, {rate:.0} events/s, {eta:.0} s left"),
            _ => format!("{position} of {target}"),
        },
        RebuildState::Verifying => format!("comparing at {position}"),
        RebuildState::Done if rebuild.dry_run => "compared".to_owned(),
        RebuildState::Done => "shown".to_owned(),
        RebuildState::Failed => "failed".to_owned(),
    }
}
