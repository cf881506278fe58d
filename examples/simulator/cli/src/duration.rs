//! Durations in settings: a number and its unit.

use std::time::Duration;

use crate::error::CliError;

/// Maximum of any duration: a year is more than any setting needs, and far below what overflows a clock.
const LONGEST: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// Parses `500ms`, `30s`, `10m`, `1h 30m` and the like. A number without a unit is refused, because its unit would be a
/// guess.
///
/// # Errors
/// A line that starts with `name`, the flag or variable that `text` came from, and says what to write.
pub fn parse(name: &str, text: &str) -> Result<Duration, CliError> {
    let text = text.trim();
    let duration = match humantime::parse_duration(text) {
        Ok(duration) => duration,
        Err(_) if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) => {
            return Err(CliError::new(format!("{name}={text} has no unit: write {text}s or {text}ms")));
        }
        // The text is not shown: it may be a secret that was given to the wrong name.
        Err(_) => return Err(CliError::new(format!("{name} is not a duration: write 500ms, 30s or 10m"))),
    };
    match duration {
        Duration::ZERO => Err(CliError::new(format!("{name} is zero: give a duration above zero"))),
        duration if duration > LONGEST => Err(CliError::new(format!("{name} is longer than a year"))),
        duration => Ok(duration),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_are_read_and_a_bare_number_is_refused() {
        assert_eq!(parse("T", "500ms").expect("ms"), Duration::from_millis(500));
        assert_eq!(parse("T", " 30 s").expect("s"), Duration::from_secs(30));
        assert_eq!(parse("T", "10m").expect("m"), Duration::from_secs(600));
        let bare = parse("CACHEFRONT_TTL", "30").expect_err("bare").to_string();
        assert_eq!(bare, "CACHEFRONT_TTL=30 has no unit: write 30s or 30ms");
        assert_eq!(parse("T", "1h 30m").expect("two units"), Duration::from_secs(5_400));
        for text in ["", "0", "s", "-1s", "1.5.5s", "1 fortnight", "0s", "99999999999999999999s", "20000h", "2 years"] {
            assert!(parse("T", text).is_err(), "{text}");
        }
    }
}
