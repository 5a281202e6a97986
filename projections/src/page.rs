//! Pages of a list, newest first, by ledger position: new rows never shift a page.

use crate::ProjectionError;

/// The most rows of a page.
pub const MAX_PAGE_ROWS: u32 = 500;

/// Some rows of a list.
#[derive(Debug, Clone, PartialEq)]
pub struct Page<T> {
    pub items: Vec<T>,
    /// Give it as `after` for the next page; `None` at the end.
    pub next: Option<String>,
    /// Everything up to this ledger position is in the list (perhaps more).
    pub position: i64,
}

/// Where a list goes on: below a position. Opaque to callers, who only hand it back.
pub(crate) struct Cursor {
    /// Which list it is of.
    list: char,
}

impl Cursor {
    pub const fn of_list(list: char) -> Self {
        Self { list }
    }

    /// The position below which the page begins.
    pub fn read(&self, after: Option<&str>) -> Result<i64, ProjectionError> {
        let Some(cursor) = after else { return Ok(i64::MAX) };
        cursor
            .strip_prefix(self.list)
            .and_then(|position| i64::from_str_radix(position, 36).ok())
            .filter(|position| *position > 0)
            .ok_or(ProjectionError::BadCursor)
    }

    /// Cuts the row too many that was read to know whether there are more.
    pub fn page<T>(&self, mut items: Vec<T>, rows: u32, position: i64, key: impl Fn(&T) -> i64) -> Page<T> {
        let more = items.len() > rows as usize;
        items.truncate(rows as usize);
        let next = items.last().filter(|_| more).map(|last| format!("{}{}", self.list, base36(key(last))));
        Page { items, next, position }
    }
}

/// The rows a page may have.
pub(crate) fn rows(limit: u32) -> u32 {
    limit.clamp(1, MAX_PAGE_ROWS)
}

fn base36(position: i64) -> String {
    let mut rest = position.unsigned_abs();
    let mut digits = Vec::new();
    loop {
        digits.push(b"0123456789abcdefghijklmnopqrstuvwxyz"[(rest % 36) as usize] as char);
        rest /= 36;
        if rest == 0 {
            return digits.into_iter().rev().collect();
        }
    }
}
