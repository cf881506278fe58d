//! Dates and times as MySQL prints them, from numbers and ISO text. A TIMESTAMP is printed in UTC.
//!
//! The numbers and the text are those of Debezium's [temporal types].
//!
//! [temporal types]: https://debezium.io/documentation/reference/stable/connectors/mysql.html#mysql-temporal-types

pub(super) use cachefront_core::event::calendar::date_text as date;
use cachefront_core::event::calendar::datetime_text;

use super::settings::TimeUnit;

/// Prints a date and time from a time since 1970 without a time zone.
pub(super) fn datetime(number: i64, unit: TimeUnit, digits: Option<u8>) -> Option<String> {
    let (seconds, nanos) = split(number, unit);
    let mut text = String::from(datetime_text(seconds)?);
    push_fraction(&mut text, nanos, digits.unwrap_or_else(|| natural(nanos)))?;
    Some(text)
}

/// Prints a TIME, which may be negative and longer than a day.
pub(super) fn time(number: i64, unit: TimeUnit, digits: Option<u8>) -> Option<String> {
    let sign = if number < 0 { "-" } else { "" };
    let (seconds, nanos) = split(i64::try_from(number.unsigned_abs()).ok()?, unit);
    let mut text = format!("{sign}{:02}:{:02}:{:02}", seconds / 3_600, seconds / 60 % 60, seconds % 60);
    push_fraction(&mut text, nanos, digits.unwrap_or_else(|| natural(nanos)))?;
    Some(text)
}

/// Converts `1990-02-28Z`.
pub(super) fn iso_date(text: &str) -> Option<String> {
    let date = text.strip_suffix('Z').unwrap_or(text);
    is_date(date).then(|| date.to_owned())
}

/// Converts `07:30:00.125Z`.
pub(super) fn iso_time(text: &str, digits: Option<u8>) -> Option<String> {
    let time = text.strip_suffix('Z').unwrap_or(text);
    with_digits(time, digits)
}

/// Converts `2026-01-02T03:04:05.678901Z`.
pub(super) fn iso_datetime(text: &str, digits: Option<u8>) -> Option<String> {
    let (date, time) = text.strip_suffix('Z').unwrap_or(text).split_once('T')?;
    let time = with_digits(time, digits)?;
    is_date(date).then(|| format!("{date} {time}"))
}

/// True for `yyyy-mm-dd`; the ranges of month and day are not checked, since MySQL stores zeros
/// there.
fn is_date(text: &str) -> bool {
    let mut parts = text.split('-');
    let mut part = |length: usize| {
        parts.next().is_some_and(|part| part.len() == length && part.bytes().all(|byte| byte.is_ascii_digit()))
    };
    part(4) && part(2) && part(2) && parts.next().is_none()
}

/// Prints a time with the number of fractional digits that the column declares.
fn with_digits(time: &str, digits: Option<u8>) -> Option<String> {
    let (whole, fraction) = time.split_once('.').unwrap_or((time, ""));
    let unsigned = whole.strip_prefix('-').unwrap_or(whole);
    let mut parts = unsigned.split(':');
    let mut part = || {
        let part = parts.next()?;
        (part.len() >= 2 && part.bytes().all(|byte| byte.is_ascii_digit())).then_some(())
    };
    part()?;
    part()?;
    // ISO text may omit zero seconds.
    let seconds = unsigned.matches(':').count() == 2;
    if seconds {
        part()?;
    }
    if parts.next().is_some() || fraction.len() > 9 || !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let nanos: u64 = format!("{fraction:0<9}").parse().ok()?;
    let mut text = whole.to_owned();
    if !seconds {
        text.push_str(":00");
    }
    match digits {
        Some(digits) => push_fraction(&mut text, nanos, digits)?,
        None if fraction.is_empty() => {}
        None => {
            text.push('.');
            text.push_str(fraction);
        }
    }
    Some(text)
}

/// Splits a number into whole seconds, rounded down, and nanoseconds.
fn split(number: i64, unit: TimeUnit) -> (i64, u64) {
    let (per_second, nanos) = match unit {
        TimeUnit::Millis => (1_000, 1_000_000),
        TimeUnit::Micros => (1_000_000, 1_000),
        TimeUnit::Nanos => (1_000_000_000, 1),
    };
    (number.div_euclid(per_second), number.rem_euclid(per_second).unsigned_abs() * nanos)
}

/// Returns the number of digits that a fraction needs: 0, 3 or 6.
fn natural(nanos: u64) -> u8 {
    match nanos {
        0 => 0,
        _ if nanos.is_multiple_of(1_000_000) => 3,
        _ => 6,
    }
}

/// Cuts digits off and does not round: the log has the stored digits.
fn push_fraction(text: &mut String, nanos: u64, digits: u8) -> Option<()> {
    if digits == 0 {
        return Some(());
    }
    let printed = format!("{nanos:09}");
    text.push('.');
    text.push_str(printed.get(..usize::from(digits.min(9)))?);
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_become_what_mysql_prints() {
        let micros = |number, digits| datetime(number, TimeUnit::Micros, digits);
        assert_eq!(micros(1_767_323_045_678_901, None).as_deref(), Some("2026-01-02 03:04:05.678901"));
        assert_eq!(micros(1_767_323_045_678_900, Some(4)).as_deref(), Some("2026-01-02 03:04:05.6789"));
        assert_eq!(datetime(1_774_751_400_000, TimeUnit::Millis, None).as_deref(), Some("2026-03-29 02:30:00"));
        assert_eq!(datetime(-1, TimeUnit::Millis, None).as_deref(), Some("1969-12-31 23:59:59.999"));
        assert_eq!(time(-3_020_399_000_000, TimeUnit::Micros, Some(0)).as_deref(), Some("-838:59:59"));
        assert_eq!(time(-500_000, TimeUnit::Micros, Some(2)).as_deref(), Some("-00:00:00.50"));
        assert_eq!(time(27_000_125_000, TimeUnit::Micros, None).as_deref(), Some("07:30:00.125"));
        assert_eq!(time(i64::MIN, TimeUnit::Micros, None), None);
    }

    #[test]
    fn iso_text_becomes_what_mysql_prints() {
        assert_eq!(iso_date("1990-02-28Z").as_deref(), Some("1990-02-28"));
        assert_eq!(iso_time("07:30:00.125Z", None).as_deref(), Some("07:30:00.125"));
        assert_eq!(iso_time("07:30Z", None).as_deref(), Some("07:30:00"));
        assert_eq!(iso_time("-838:59:59Z", Some(3)).as_deref(), Some("-838:59:59.000"));
        assert_eq!(iso_datetime("2026-11-23T00:23:06.03Z", Some(3)).as_deref(), Some("2026-11-23 00:23:06.030"));
        assert_eq!(iso_datetime("2026-11-23T00:23:06Z", None).as_deref(), Some("2026-11-23 00:23:06"));
        for text in ["", "T", "2026-11-23", "2026-11-23T", "2026-1-23T00:00:00Z", "2026-11-23T00:00:00.x"] {
            assert_eq!(iso_datetime(text, None), None, "{text}");
        }
    }
}
