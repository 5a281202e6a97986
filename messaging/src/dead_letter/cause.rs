//! What a failure is called, whoever it happened to: its kind and its words, without what differs from message to message.
//! `version "9.0" is not supported, only 1.x is` and `ORD202412010001: no such order` become
//! `poison: version … is not supported, only 1.x is` and `failed: ID: no such order`.

use crate::handler::HandleError;

/// The cause of a row that did not fail: it waits.
pub const WAITS: &str = "behind: waits for an earlier message of its key";

/// Longest cause, in characters.
const MAX_CAUSE_CHARS: usize = 200;

/// The cause of a failure: stable, readable, and the same for all messages that failed alike.
pub fn cause_of(error: &HandleError) -> String {
    let (kind, message) = match error {
        HandleError::Poison(message) => ("poison", message),
        HandleError::Failed(message) => ("failed", message),
        HandleError::Transient(message) => ("transient", message),
        HandleError::Behind => return WAITS.into(),
    };
    let cause = format!("{kind}: {}", without_particulars(message));
    cause.chars().filter(|char| *char != '\0').take(MAX_CAUSE_CHARS).collect()
}

/// A message without ids, numbers and quoted values.
pub(crate) fn without_particulars(message: &str) -> String {
    let mut cause = String::new();
    let mut rest = message.trim();
    while let Some(first) = rest.chars().next() {
        let taken = match first {
            '"' | '\'' | '`' => quoted(rest, first, &cause),
            char if is_word(char) => Some(word(rest)),
            char if char.is_whitespace() || char.is_control() => Some((" ".into(), space_bytes(rest))),
            _ => None,
        };
        let (text, bytes) = taken.unwrap_or_else(|| (first.to_string(), first.len_utf8()));
        cause.push_str(&text);
        rest = &rest[bytes..];
    }
    cause
}

/// A quoted value is a particular; a name in backticks, such as a missing field's, is part of what went wrong. An
/// apostrophe inside a word quotes nothing.
fn quoted(text: &str, quote: char, before: &str) -> Option<(String, usize)> {
    if before.chars().next_back().is_some_and(is_word) {
        return None;
    }
    let inner = &text[quote.len_utf8()..];
    let mut escaped = false;
    let end = inner.char_indices().find_map(|(at, char)| {
        let closes = char == quote && !escaped;
        escaped = char == '\\' && !escaped;
        closes.then_some(at)
    })?;
    let is_name = quote == '`' && inner[..end].chars().all(|char| char.is_alphabetic() || "_.:|".contains(char));
    let shown = if is_name { format!("`{}`", &inner[..end]) } else { "…".into() };
    Some((shown, end + 2 * quote.len_utf8()))
}

fn word(text: &str) -> (String, usize) {
    let end = text.find(|char| !is_word(char)).unwrap_or(text.len());
    // What ends a sentence or introduces the next part belongs to no word.
    let word = text[..end].trim_end_matches(['.', ':', '-', '/', '+']);
    let bytes = if word.is_empty() { end } else { word.len() };
    (general(&text[..bytes]).into(), bytes)
}

fn general(word: &str) -> &str {
    let digits = word.chars().filter(char::is_ascii_digit).count();
    if word.contains('@') {
        "…"
    } else if digits == 0 {
        word
    } else if word.chars().all(|char| char.is_ascii_digit() || ".:-+/TZ".contains(char)) {
        "N"
    } else if digits >= 3 && word.len() >= 6 {
        "ID"
    } else {
        word
    }
}

fn space_bytes(text: &str) -> usize {
    text.find(|char: char| !char.is_whitespace() && !char.is_control()).unwrap_or(text.len())
}

fn is_word(char: char) -> bool {
    char.is_alphanumeric() || "_-.:/+@".contains(char)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn poison(message: &str) -> String {
        cause_of(&HandleError::Poison(message.into()))
    }

    #[test]
    fn what_differs_from_message_to_message_is_not_part_of_the_cause() {
        let cases = [
            ("version \"9.0\" is not supported, only 1.x is", "poison: version … is not supported, only 1.x is"),
            ("unknown eventType \"ORDER_\\\"X\\\"\"", "poison: unknown eventType …"),
            (
                "data is none of STOCK_LOCK: invalid value: integer `-2`, expected u32 at line 1 column 47",
                "poison: data is none of STOCK_LOCK: invalid value: integer …, expected u32 at line N column N",
            ),
            ("no order ORD202412010001", "poison: no order ID"),
            ("lock 018f2c3e-7b1a-7c3d-9e4f-0a1b2c3d4e5f is gone.", "poison: lock ID is gone."),
            ("amount 299.00 is not -5", "poison: amount N is not N"),
            ("no mail to ann@example.org", "poison: no mail to …"),
            ("the provider didn't answer, it's away", "poison: the provider didn't answer, it's away"),
            ("two\n\tlines", "poison: two lines"),
        ];
        for (message, cause) in cases {
            assert_eq!(poison(message), cause);
        }
    }

    #[test]
    fn what_tells_problems_apart_is() {
        let (user, order) = (poison("missing field `userId`"), poison("missing field `orderId`"));
        assert_eq!(
            (user.as_str(), order.as_str()),
            ("poison: missing field `userId`", "poison: missing field `orderId`")
        );
        assert_eq!(cause_of(&HandleError::Failed("rejected: lock_lapsed".into())), "failed: rejected: lock_lapsed");
        assert_eq!(cause_of(&HandleError::Behind), WAITS);
    }

    #[test]
    fn a_cause_is_short_whatever_the_message_is() {
        for message in
            ["x ".repeat(5_000), "\"".into(), "'".into(), "`a".into(), "\0".into(), "…@…".into(), "- . :".into()]
        {
            assert!(poison(&message).chars().count() <= MAX_CAUSE_CHARS, "{message:?}");
        }
    }
}
