//! What a person sees, drawn on a terminal in memory.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use ratatui::Terminal;
use ratatui::backend::TestBackend;

use super::*;
use crate::commands::lag::samples::report;

fn drawn(screen: &mut Screen, width: u16, height: u16) -> Vec<String> {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    terminal.draw(|frame| screen.draw(frame)).unwrap();
    let buffer = terminal.backend().buffer().clone();
    let row = |y| (0..width).map(|x| buffer[(x, y)].symbol().to_owned()).collect::<String>().trim_end().to_owned();
    (0..height).map(row).collect()
}

fn watching() -> Screen {
    let mut screen = Screen::new(Series::default());
    for _ in 0..3 {
        screen.measured(Arc::new(report()));
    }
    screen
}

#[test]
fn everything_is_on_one_screen() {
    let rows = drawn(&mut watching(), 140, 40);
    let text = rows.join("\n");
    for part in [
        "7 pending",
        "relay-1",
        "sent/s 12.5",
        "order",
        "stock-lock",
        "unknown",
        "down",
        "orders",
        "missing messages: 1",
    ] {
        assert!(text.contains(part), "{part} is missing from\n{text}");
    }
    assert!(text.contains("▇▇▇") || text.contains("███"), "lines of the last moments:\n{text}");
}

#[test]
fn a_lag_that_is_not_known_is_said_to_be_and_never_zero() {
    let rows = drawn(&mut watching(), 140, 40);
    let stock = rows.iter().find(|row| row.contains("stock-lock")).unwrap();
    assert!(stock.contains("unknown") && !stock.contains(" 0 s"), "{stock}");
    assert!(stock.contains('·'), "a line without a value: {stock}");
}

#[test]
fn a_narrow_terminal_keeps_the_numbers_and_gives_up_the_lines() {
    let rows = drawn(&mut watching(), 80, 40);
    let order = rows.iter().find(|row| row.starts_with("order ")).unwrap();
    assert!(order.contains("12") && order.contains("up"), "{order}");
    assert!(rows.iter().all(|row| row.chars().count() <= 80));
}

#[test]
fn what_does_not_fit_is_reached_by_scrolling_and_not_beyond() {
    let mut screen = watching();
    let top = drawn(&mut screen, 100, 8);
    assert!(top[0].contains("outbox and relay") && top[7].contains("scroll"), "{top:?}");
    screen.scroll(Wish::ToEnd);
    let end = drawn(&mut screen, 100, 8);
    assert!(end.iter().any(|row| row.contains("invariants")), "{end:?}");
    assert!(!end[6].is_empty(), "the last row is at the end, with nothing behind it: {end:?}");
    screen.scroll(Wish::Scroll(-1_000));
    assert_eq!(drawn(&mut screen, 100, 8), top);
}

#[test]
fn without_a_measurement_it_says_so_and_a_failure_leaves_what_was_known() {
    let mut screen = Screen::new(Series::default());
    assert!(drawn(&mut screen, 60, 5).concat().contains("measuring"));
    screen.measured(Arc::new(report()));
    screen.problem = Some("the database is away".to_owned());
    let text = drawn(&mut screen, 140, 40).join("\n");
    assert!(text.contains("not measured: the database is away") && text.contains("7 pending"), "{text}");
}

#[test]
fn the_smallest_terminal_is_no_reason_to_fail() {
    for (width, height) in [(1, 1), (10, 2), (300, 100)] {
        drawn(&mut watching(), width, height);
    }
}
