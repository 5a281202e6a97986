//! Charts of what was measured, as SVG that takes its colours from the page it is shown in.
//!
//! Plotters draws with fixed colours, so each role has one of its own that stands for a CSS custom property and is replaced in
//! the text it writes. Alone, outside of a page, the SVG falls back to the light colours.

use plotters::prelude::*;

mod axis;
mod ticks;

use axis::Axis;

/// In pixels; a chart is drawn for the width it is shown at, so that its text keeps its size.
pub const MIN_WIDTH_PX: u32 = 240;
/// In pixels.
pub const MAX_WIDTH_PX: u32 = 2_000;
const HEIGHT_PX: u32 = 220;
const FONT_PX: i32 = 12;
const LEFT_PX: i32 = 48;
/// Room for one time on the axis.
const LABEL_PX: u32 = 74;
const LINES: usize = 4;
const MS_PER_MINUTE: f64 = 60_000.0;

/// What is drawn where, and the property it is coloured by.
const TEXT: Role = Role { color: RGBColor(1, 1, 1), written: "#010101", property: "var(--soft, #536074)" };
const GRID: Role = Role { color: RGBColor(2, 2, 2), written: "#020202", property: "var(--line, #dde3eb)" };
const SERIES: [Role; 3] = [
    Role { color: RGBColor(3, 3, 3), written: "#030303", property: "var(--chart-1, #1d53cf)" },
    Role { color: RGBColor(4, 4, 4), written: "#040404", property: "var(--chart-2, #b85c00)" },
    Role { color: RGBColor(5, 5, 5), written: "#050505", property: "var(--chart-3, #0f7a55)" },
];

struct Role {
    color: RGBColor,
    written: &'static str,
    property: &'static str,
}

/// Some figures over the same time.
#[derive(Debug, Clone)]
pub struct Chart {
    pub title: String,
    pub from_ms: i64,
    pub until_ms: i64,
    /// Added to the times on the axis: whoever looks has a clock of their own.
    pub utc_offset_minutes: i32,
    /// Up to three; more are not drawn.
    pub series: Vec<Series>,
}

/// One figure over time.
#[derive(Debug, Clone)]
pub struct Series {
    pub name: &'static str,
    /// Epoch milliseconds, oldest first. What was not known is a gap, never 0.
    pub points: Vec<(i64, Option<f64>)>,
}

/// Plotters could not draw it.
#[derive(Debug, thiserror::Error)]
#[error("the chart could not be drawn: {0}")]
pub struct ChartError(String);

/// Draws it as wide as asked, within bounds.
pub fn draw(chart: &Chart, width_px: u32) -> Result<String, ChartError> {
    let width_px = width_px.clamp(MIN_WIDTH_PX, MAX_WIDTH_PX);
    let mut svg = String::new();
    paint(chart, width_px, &mut svg).map_err(|error| ChartError(error.to_string()))?;
    for role in SERIES.iter().chain([&TEXT, &GRID]) {
        svg = svg.replace(role.written, role.property);
    }
    Ok(describe(chart, svg))
}

fn paint(chart: &Chart, width_px: u32, svg: &mut String) -> Result<(), Box<dyn std::error::Error>> {
    let root = SVGBackend::with_string(svg, (width_px, HEIGHT_PX)).into_drawing_area();
    let minute = |ms: i64| ms as f64 / MS_PER_MINUTE;
    let (from, until) = (minute(chart.from_ms), minute(chart.until_ms.max(chart.from_ms + 1)));
    let (top, values) = ticks::values(chart.highest(), LINES);
    let most_labels = (width_px.saturating_sub(LEFT_PX as u32) / LABEL_PX).max(2) as usize;
    let times = ticks::times(from, until, chart.utc_offset_minutes, most_labels);
    let mut canvas = ChartBuilder::on(&root)
        .margin_top(8)
        .margin_right(14)
        .x_label_area_size(22)
        .y_label_area_size(LEFT_PX)
        .build_cartesian_2d(Axis::new(from, until, times), Axis::new(0.0, top, values))?;
    let font = ("sans-serif", FONT_PX).into_font().color(&TEXT.color);
    canvas
        .configure_mesh()
        .disable_x_mesh()
        .bold_line_style(GRID.color)
        .light_line_style(TRANSPARENT)
        .axis_style(GRID.color)
        .label_style(font)
        .x_labels(most_labels)
        .y_labels(LINES + 1)
        .x_label_formatter(&|time| ticks::clock(*time, chart.utc_offset_minutes))
        .y_label_formatter(&|value| ticks::short(*value))
        .draw()?;
    let is_alone = chart.series.len() == 1;
    for (series, role) in chart.series.iter().zip(&SERIES) {
        for stretch in series.stretches() {
            let points = stretch.iter().map(|(ms, value)| (minute(*ms), value.min(top)));
            if is_alone {
                canvas.draw_series(AreaSeries::new(points.clone(), 0.0, role.color.mix(0.14)))?;
            }
            canvas.draw_series(LineSeries::new(points, role.color.stroke_width(2)))?;
        }
    }
    root.present()?;
    drop(canvas);
    drop(root);
    Ok(())
}

/// Says what is seen, for those who do not see it.
fn describe(chart: &Chart, svg: String) -> String {
    let figures: Vec<String> = chart.series.iter().map(Series::in_words).collect();
    let words = format!("<title>{}</title><desc>{}</desc>", escape(&chart.title), escape(&figures.join("; ")));
    let figures: Vec<String> = chart.series.iter().map(Series::figures).collect();
    let attributes =
        format!(" role=\"img\" aria-label=\"{}\" data-figures=\"{}\">{words}", escape(&chart.title), figures.join(";"));
    svg.replacen('>', &attributes, 1)
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

impl Chart {
    fn highest(&self) -> f64 {
        let known = self.series.iter().flat_map(|series| series.points.iter().filter_map(|(_, value)| *value));
        known.filter(|value| value.is_finite()).fold(0.0, f64::max)
    }
}

impl Series {
    /// What is known without a gap.
    fn stretches(&self) -> Vec<Vec<(i64, f64)>> {
        let mut stretches = vec![Vec::new()];
        for (ms, value) in &self.points {
            match (value.filter(|value| value.is_finite()), stretches.last_mut()) {
                (Some(value), Some(stretch)) => stretch.push((*ms, value)),
                (None, Some(stretch)) if !stretch.is_empty() => stretches.push(Vec::new()),
                _ => {}
            }
        }
        stretches.retain(|stretch| !stretch.is_empty());
        stretches
    }

    fn in_words(&self) -> String {
        match self.last_and_highest() {
            Some((last, highest)) => format!("{}: {last} at the end, {highest} at most", self.name),
            None => format!("{}: unknown", self.name),
        }
    }

    /// For a page that says it in another language: `last/highest`, or nothing.
    fn figures(&self) -> String {
        self.last_and_highest().map_or_else(String::new, |(last, highest)| format!("{last}/{highest}"))
    }

    fn last_and_highest(&self) -> Option<(String, String)> {
        let known = self.points.iter().filter_map(|(_, value)| *value).filter(|value| value.is_finite());
        let last = known.clone().next_back()?;
        Some((ticks::short(last), ticks::short(known.fold(0.0, f64::max))))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn chart(values: &[Option<f64>]) -> Chart {
        let points = values.iter().enumerate().map(|(at, value)| (at as i64 * 60_000, *value)).collect();
        Chart {
            title: "Orders <a second>".to_owned(),
            from_ms: 0,
            until_ms: 3_600_000,
            utc_offset_minutes: 0,
            series: vec![Series { name: "orders", points }],
        }
    }

    #[test]
    fn colours_are_the_pages_and_none_of_plotters_is_left() {
        let svg = draw(&chart(&[Some(1.0), Some(2.0), Some(3.0)]), 390).unwrap();
        assert!(svg.contains("var(--chart-1"), "{svg}");
        assert!(!svg.contains("#030303") && !svg.contains("style="), "{svg}");
        assert!(svg.starts_with("<svg width=\"390\""), "{svg}");
    }

    #[test]
    fn what_is_not_known_is_a_gap_and_not_a_zero() {
        let lines = |values: &[Option<f64>]| draw(&chart(values), 600).unwrap().matches("<polyline").count();
        let (whole, broken) =
            (lines(&[Some(5.0); 6]), lines(&[Some(5.0), Some(5.0), None, None, Some(5.0), Some(5.0)]));
        assert_eq!(broken, whole + 1);
        let nothing = draw(&chart(&[None, None]), 600).unwrap();
        assert!(nothing.contains("orders: unknown"), "{nothing}");
    }

    #[test]
    fn it_says_in_words_what_it_shows() {
        let svg = draw(&chart(&[Some(7.0), Some(2.0)]), 600).unwrap();
        assert!(svg.contains("<title>Orders &lt;a second&gt;</title>"), "{svg}");
        assert!(svg.contains("<desc>orders: 2 at the end, 7 at most</desc>"), "{svg}");
        assert!(svg.contains("data-figures=\"2/7\""), "{svg}");
    }

    #[test]
    fn any_width_and_any_figures_are_drawn() {
        for width in [0, 240, 390, 1_440, u32::MAX] {
            for values in [&[][..], &[Some(0.0)], &[Some(f64::NAN)], &[Some(1e12), None, Some(1e-9)]] {
                draw(&chart(values), width).unwrap();
            }
        }
    }
}
