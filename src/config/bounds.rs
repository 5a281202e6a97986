//! What a number may be, and how a value outside is refused: one line that names the key.

/// A slip of the unit rather than a wish: what is beyond ten years.
pub(super) const TEN_YEARS_SECONDS: u64 = 315_360_000;

/// Each must be in `1..=max`.
pub(super) fn positive(max: u64, values: &[(&str, u64)]) -> Result<(), String> {
    values.iter().try_for_each(|&(key, value)| between(key, value, 1, max))
}

pub(super) fn between(key: &str, value: u64, min: u64, max: u64) -> Result<(), String> {
    if (min..=max).contains(&value) { Ok(()) } else { Err(invalid(key, &format!("must be between {min} and {max}"))) }
}

pub(super) fn invalid(key: &str, why: &str) -> String {
    format!("configuration: {key} {why}")
}
