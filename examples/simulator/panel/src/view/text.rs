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

/// Formats the time that an entry has left: in whole seconds, rounded up, because each step is sent to every tab.
pub(super) fn left(duration: Duration) -> String {
    match duration.as_secs_f64().ceil() {
        seconds if seconds < 120.0 => format!("{seconds} s"),
        seconds => format!("{} min", (seconds / 60.0).ceil()),
    }
}

/// Formats a bound, rounded up to the next of 1, 2, 5, 10, 20, 50 … ms: its digits would change with every snapshot.
pub(super) fn at_most(bound: Duration) -> String {
    let bound = bound.as_secs_f64() * 1e3;
    let mut power = 1.0;
    loop {
        if let Some(step) = [1.0, 2.0, 5.0].into_iter().map(|step| step * power).find(|step| *step >= bound) {
            return match step {
                _ if step < 1e3 => format!("{step} ms"),
                _ => format!("{} s", step / 1e3),
            };
        }
        power *= 10.0;
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
        let rest = [0, 1, 9_200, 119_000, 119_500].map(|millis| left(Duration::from_millis(millis)));
        assert_eq!(rest, ["0 s", "1 s", "10 s", "119 s", "2 min"]);
        let bounds = [0, 1, 381, 500, 501, 3_000, 70_000].map(|millis| at_most(Duration::from_millis(millis)));
        assert_eq!(bounds, ["1 ms", "1 ms", "500 ms", "500 ms", "1 s", "5 s", "100 s"]);
        assert_eq!(short("3e11fa47-71ca-11e1-9e33-c80aa9429562:1-57"), "…:1-57");
        assert_eq!(time(Timestamp::from_micros(3_723_004_000)), "01:02:03.004");
    }
}
