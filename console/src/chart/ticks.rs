//! Where an axis has its marks, and what they say.

/// From one mark to the next, in minutes.
const STEPS_MINUTES: [f64; 13] = [1.0, 2.0, 5.0, 10.0, 15.0, 20.0, 30.0, 60.0, 120.0, 180.0, 240.0, 360.0, 720.0];
const MINUTES_PER_DAY: i64 = 1_440;

/// The top of the axis and its marks, round figures, the highest value below the top.
pub(super) fn values(highest: f64, lines: usize) -> (f64, Vec<f64>) {
    let wanted = highest.max(1.0) * 1.08 / lines as f64;
    let magnitude = 10f64.powf(wanted.log10().floor());
    let step = [1.0, 2.0, 2.5, 5.0, 10.0].iter().map(|one| one * magnitude).find(|step| *step >= wanted);
    let step = step.unwrap_or(10.0 * magnitude);
    let marks: Vec<f64> = (0..=lines).map(|n| n as f64 * step).collect();
    (lines as f64 * step, marks)
}

/// Round times by the clock of whoever looks, in minutes since the epoch.
pub(super) fn times(from: f64, until: f64, utc_offset_minutes: i32, most: usize) -> Vec<f64> {
    let span = until - from;
    let fits = |step: &&f64| span / **step <= most as f64;
    let step = STEPS_MINUTES.iter().find(fits).copied().unwrap_or(MINUTES_PER_DAY as f64);
    let offset = f64::from(utc_offset_minutes);
    let first = ((from + offset) / step).ceil() * step - offset;
    (0..=most).map(|n| first + n as f64 * step).take_while(|time| *time <= until).collect()
}

/// `13:45`.
pub(super) fn clock(minutes: f64, utc_offset_minutes: i32) -> String {
    let of_day = (minutes.round() as i64 + i64::from(utc_offset_minutes)).rem_euclid(MINUTES_PER_DAY);
    format!("{:02}:{:02}", of_day / 60, of_day % 60)
}

/// `0.5`, `120`, `12k`, `3.4M`.
pub(super) fn short(value: f64) -> String {
    let (scaled, unit) = match value.abs() {
        size if size >= 1e9 => (value / 1e9, "G"),
        size if size >= 1e6 => (value / 1e6, "M"),
        size if size >= 1e4 => (value / 1e3, "k"),
        _ => (value, ""),
    };
    let text = format!("{scaled:.2}");
    format!("{}{unit}", text.trim_end_matches('0').trim_end_matches('.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_have_round_marks_and_room_at_the_top() {
        assert_eq!(values(0.0, 4), (2.0, vec![0.0, 0.5, 1.0, 1.5, 2.0]));
        assert_eq!(values(100.0, 4), (200.0, vec![0.0, 50.0, 100.0, 150.0, 200.0]));
        assert_eq!(values(7.0, 4).0, 8.0);
    }

    #[test]
    fn times_are_round_by_the_clock_of_who_looks() {
        assert_eq!(times(7.0, 67.0, 0, 4), [15.0, 30.0, 45.0, 60.0]);
        assert_eq!(times(7.0, 67.0, 5, 4), [10.0, 25.0, 40.0, 55.0]);
        assert_eq!(clock(825.0, 0), "13:45");
        assert_eq!(clock(0.0, -60), "23:00");
    }

    #[test]
    fn figures_are_short() {
        let said: Vec<String> = [0.0, 0.5, 1_234.0, 12_000.0, 3_400_000.0, 2e9].map(short).into();
        assert_eq!(said, ["0", "0.5", "1234", "12k", "3.4M", "2G"]);
    }
}
