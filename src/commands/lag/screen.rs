//! The live table: everything on one screen, with the last minutes beside it.

use std::sync::Arc;
use std::time::Duration;

use ratatui::crossterm::event;
use ratatui::layout::Rect;
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span, Text};
use ratatui::widgets::Paragraph;
use ratatui::{DefaultTerminal, Frame};
use sqlx::PgPool;
use tokio::sync::mpsc;
use watch::history;
use watch::{LagMonitor, LagReport};

use super::WATCH_INTERVAL;
use super::keys::{Wish, wish};
use super::series::{Series, sparkline};
use super::view::{ConsumerRow, Health, Shown, UNKNOWN, duration, number};

/// How far back the lines begin.
const PAST_MINUTES: u32 = 10;
const PAST_INTERVAL: Duration = Duration::from_secs(10);
/// Narrower than this the lines give way to the numbers.
const MIN_WIDTH_FOR_LINES: u16 = 100;
const LINE_WIDTH: usize = 30;
/// Longest wait for a key before it is asked whether to go on.
const KEY_WAIT: Duration = Duration::from_millis(100);

/// Everything that is drawn.
pub struct Screen {
    /// None before the first measurement.
    report: Option<Arc<LagReport>>,
    /// Why the last measurement failed; what is shown is from before it.
    problem: Option<String>,
    series: Series,
    scrolled: u16,
}

/// Shows it until somebody leaves.
pub async fn watch(monitor: &LagMonitor, pool: &PgPool) -> anyhow::Result<()> {
    // Lines that begin empty are no reason not to begin.
    let past = history::past(pool, PAST_MINUTES, PAST_INTERVAL).await.map(|past| past.samples).unwrap_or_default();
    let mut screen = Screen::new(Series::of_past(&past));
    let mut wishes = read_keys();
    let mut terminal = ratatui::init();
    let shown = show(&mut terminal, &mut screen, monitor, &mut wishes).await;
    ratatui::restore();
    shown
}

async fn show(
    terminal: &mut DefaultTerminal,
    screen: &mut Screen,
    monitor: &LagMonitor,
    wishes: &mut mpsc::Receiver<Wish>,
) -> anyhow::Result<()> {
    let mut ticks = tokio::time::interval(WATCH_INTERVAL);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        terminal.draw(|frame| screen.draw(frame))?;
        tokio::select! {
            // A slow measurement must not keep anybody from leaving.
            measured = async { ticks.tick().await; monitor.current().await } => match measured {
                Ok(report) => screen.measured(report),
                Err(error) => screen.problem = Some(error.to_string()),
            },
            wished = wishes.recv() => match wished {
                None | Some(Wish::Leave) => return Ok(()),
                Some(wish) => screen.scroll(wish),
            },
        }
    }
}

/// Keys are read by a thread of their own, which ends with the receiver.
fn read_keys() -> mpsc::Receiver<Wish> {
    let (told, wishes) = mpsc::channel(16);
    std::thread::spawn(move || {
        while !told.is_closed() {
            let wished = match event::poll(KEY_WAIT) {
                Ok(true) => event::read().ok().and_then(|event| wish(&event)),
                Ok(false) => continue,
                // Without a keyboard nobody could leave.
                Err(_) => Some(Wish::Leave),
            };
            if let Some(wished) = wished
                && told.blocking_send(wished).is_err()
            {
                return;
            }
        }
    });
    wishes
}

impl Screen {
    pub fn new(series: Series) -> Self {
        Self { report: None, problem: None, series, scrolled: 0 }
    }

    pub fn measured(&mut self, report: Arc<LagReport>) {
        self.series.add(&report);
        self.report = Some(report);
        self.problem = None;
    }

    pub fn scroll(&mut self, wish: Wish) {
        self.scrolled = match wish {
            Wish::Scroll(rows) => i32::from(self.scrolled).saturating_add(rows).clamp(0, i32::from(u16::MAX)) as u16,
            Wish::ToTop => 0,
            Wish::ToEnd => u16::MAX,
            Wish::Redraw | Wish::Leave => self.scrolled,
        };
    }

    pub fn draw(&mut self, frame: &mut Frame<'_>) {
        let area = frame.area();
        let lines = self.lines(area.width);
        // The last line says what the keys do.
        let room = area.height.saturating_sub(1);
        self.scrolled = self.scrolled.min((lines.len() as u16).saturating_sub(room));
        let body = Rect { height: room, ..area };
        let more = lines.len() as u16 > room;
        frame.render_widget(Paragraph::new(Text::from(lines)).scroll((self.scrolled, 0)), body);
        let foot = Rect { y: area.y + room, height: area.height.min(1), ..area };
        frame.render_widget(Paragraph::new(foot_line(more)), foot);
    }

    fn lines(&self, width: u16) -> Vec<Line<'static>> {
        let mut lines = Vec::new();
        if let Some(problem) = &self.problem {
            lines.push(Line::styled(format!("not measured: {problem}"), style(Health::Bad)));
        }
        let Some(report) = &self.report else {
            lines.push(Line::raw("measuring …"));
            return lines;
        };
        let shown = Shown::of(report);
        let with_lines = width >= MIN_WIDTH_FOR_LINES;
        lines.push(heading("outbox and relay"));
        lines.push(Line::raw(shown.outbox));
        lines.push(Line::raw(shown.relay));
        lines.extend(shown.pending_topics.into_iter().map(|topic| Line::raw(format!("  {topic}"))));
        lines.extend(self.trends(width));
        lines.push(Line::raw(""));
        lines.push(consumer_heading(with_lines));
        lines.extend(shown.consumers.iter().map(|row| self.consumer(row, with_lines)));
        lines.push(Line::raw(""));
        lines.push(heading(&format!("{:<27} {:>9} {:>9}", "projection", "events", "behind")));
        for lag in &report.projections {
            let behind = duration(lag.lag_seconds.map(|seconds| (seconds * 1_000.0) as i64));
            let events = number(Some(lag.lag_events()));
            lines.push(Line::raw(format!("{:<27} {events:>9} {behind:>9}", lag.name)));
        }
        lines.push(Line::raw(""));
        lines.push(heading("critical time"));
        lines.push(Line::raw(shown.critical_time));
        let missing =
            report.missing.messages.map_or(Health::Behind, |n| if n > 0 { Health::Bad } else { Health::Good });
        lines.push(Line::styled(shown.missing, style(missing)));
        for message in &report.missing.found {
            let watch::missing::MissingMessage { group, topic, message_id, position } = message;
            let text = format!("  {message_id} of event {position} to {topic}: no trace with {group}");
            lines.push(Line::styled(text, style(Health::Bad)));
        }
        let broken = report.verification.as_ref().is_some_and(|check| check.violations > 0);
        lines.push(Line::styled(shown.verification, style(if broken { Health::Bad } else { Health::Good })));
        lines
    }

    /// The lines of the whole, one under the other.
    fn trends(&self, width: u16) -> Vec<Line<'static>> {
        let room = usize::from(width).saturating_sub(24).min(120);
        let trends = [
            ("pending", &self.series.outbox_pending),
            ("oldest, s", &self.series.outbox_age_seconds),
            ("sent/s", &self.series.sent_per_second),
            ("visible p99, ms", &self.series.critical_time_p99_ms),
        ];
        let line = |(name, values): (&str, &super::series::Line)| {
            let last = values.back().copied().flatten().map_or(UNKNOWN.to_owned(), |value| format!("{value:.1}"));
            Line::from(vec![
                Span::raw(format!("{name:<16}{last:>7} ")),
                Span::styled(sparkline(values, room), Style::new().fg(Color::Cyan)),
            ])
        };
        trends.map(line).to_vec()
    }

    fn consumer(&self, row: &ConsumerRow, with_lines: bool) -> Line<'static> {
        let name = short_group(&row.group);
        let mut spans = vec![Span::raw(format!("{name:<24} {:<20} ", row.topic))];
        let numbers = format!("{:>9} {:>9} {:>5}", row.messages, row.behind, row.up);
        spans.push(Span::styled(numbers, style(row.health)));
        if with_lines {
            spans.push(Span::raw(format!(" {:>9} {:>5} ", row.applied_per_second, row.dead_letters)));
            let line = self.series.groups.get(&row.group).map(|line| sparkline(line, LINE_WIDTH)).unwrap_or_default();
            spans.push(Span::styled(line, Style::new().fg(Color::Cyan)));
        }
        Line::from(spans)
    }
}

/// What groups of one system share says nothing: the end tells them apart.
fn short_group(group: &str) -> String {
    let end = group.strip_prefix(messaging::DEFAULT_CONSUMER_GROUP).map_or(group, |end| end.trim_start_matches('-'));
    let skipped = end.chars().count().saturating_sub(24);
    end.chars().skip(skipped).collect()
}

fn consumer_heading(with_lines: bool) -> Line<'static> {
    let mut text = format!("{:<24} {:<20} {:>9} {:>9} {:>5}", "consumer group", "topic", "messages", "behind", "up");
    if with_lines {
        text.push_str(&format!(" {:>9} {:>5} group, messages", "applied/s", "dead"));
    }
    heading(&text)
}

fn heading(text: &str) -> Line<'static> {
    Line::styled(text.to_owned(), Style::new().add_modifier(Modifier::BOLD))
}

fn foot_line(more: bool) -> Line<'static> {
    let keys = if more { "q leave   ↑ ↓ PgUp PgDn scroll" } else { "q leave" };
    Line::styled(keys, Style::new().add_modifier(Modifier::DIM))
}

fn style(health: Health) -> Style {
    match health {
        Health::Good => Style::new(),
        Health::Behind => Style::new().fg(Color::Yellow),
        Health::Bad => Style::new().fg(Color::Red).add_modifier(Modifier::BOLD),
    }
}

#[cfg(test)]
mod tests;
