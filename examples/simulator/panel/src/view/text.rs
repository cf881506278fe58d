//! Numbers and times as people read them.

use std::time::Duration;

use cachefront::Timestamp;

/// Formats milliseconds: `3.4 ms`, `12.0 s`.
pub(super) fn millis(millis: f64) -> String {
    match millis {
        _ if millis < 10.0 => format!("{millis:.1} ms"),
        _ if millis < 1_000.0 => format!("{millis:.0} ms"),
        _ if millis < 600_000.0 => format!("{:.1} s", millis / 1e3),
        _ => format!("{:.0} min", millis / 6e4),
    }
}

/// Formats a duration that people watch: a long one changes once a second.
pub(super) fn countdown(duration: Duration) -> String {
    let seconds = duration.as_secs_f64();
    match seconds {
        _ if seconds < 10.0 => format!("{seconds:.1} s"),
        _ if seconds < 120.0 => format!("{seconds:.0} s"),
        _ => format!("{:.0} min", seconds / 60.0),
    }
}

/// Formats the time of day in UTC, with milliseconds.
pub(super) fn time(at: Timestamp) -> String {
    let millis = at.as_millis() % 86_400_000;
    let (hours, minutes) = (millis / 3_600_000, millis / 60_000 % 60);
    format!("{hours:02}:{minutes:02}:{:02}.{:03}", millis / 1_000 % 60, millis % 1_000)
}

/// Shortens a position to its end: the beginning is a server's UUID.
pub(super) fn short(position: &str) -> String {
    match position.rsplit_once(':') {
        Some((_, end)) if end.chars().count() <= 12 => format!("…:{end}"),
        _ if position.chars().count() <= 14 => position.to_owned(),
        _ => {
            let skip = position.chars().count() - 12;
            format!("…{}", position.chars().skip(skip).collect::<String>())
        }
    }
}

/// Groups the digits of a number: `1,284`.
pub(super) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Percent-encodes a text for the body of a form, or for a query.
pub(super) fn encoded(text: &str) -> String {
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
    text.bytes().map(|byte| if plain(&byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_passes_through_a_form_unchanged() {
        assert_eq!(encoded("users_by_email:a+b&c=ü@x"), "users_by_email%3Aa%2Bb%26c%3D%C3%BC%40x");
    }

    #[test]
    fn numbers_are_short_and_whole() {
        assert_eq!(
            (millis(3.42), millis(420.4), millis(17_600.0)),
            ("3.4 ms".into(), "420 ms".into(), "17.6 s".into())
        );
        assert_eq!(
            (grouped(12), grouped(1_284), grouped(1_234_567)),
            ("12".into(), "1,284".into(), "1,234,567".into())
        );
        assert_eq!(short("3e11fa47-71ca-11e1-9e33-c80aa9429562:1-57"), "…:1-57");
        assert_eq!(time(Timestamp::from_micros(3_723_004_000)), "01:02:03.004");
    }
}
