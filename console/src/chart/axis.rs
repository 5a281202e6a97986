//! An axis with marks of our choice: Plotters' own marks of a time are round in decimals and not by the clock.

use std::ops::Range;

use plotters::coord::ranged1d::{DefaultFormatting, KeyPointHint, Ranged};

pub(super) struct Axis {
    from: f64,
    until: f64,
    marks: Vec<f64>,
}

impl Axis {
    pub fn new(from: f64, until: f64, marks: Vec<f64>) -> Self {
        Self { from, until, marks }
    }
}

impl Ranged for Axis {
    type FormatOption = DefaultFormatting;
    type ValueType = f64;

    fn map(&self, value: &f64, limit: (i32, i32)) -> i32 {
        let share = (value - self.from) / (self.until - self.from);
        limit.0 + (f64::from(limit.1 - limit.0) * share).round() as i32
    }

    fn key_points<Hint: KeyPointHint>(&self, _: Hint) -> Vec<f64> {
        self.marks.clone()
    }

    fn range(&self) -> Range<f64> {
        self.from..self.until
    }
}
