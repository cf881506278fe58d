//! Durations in settings: a number and its unit.

use std::time::Duration;

use crate::error::CliError;

/// Parses `500ms`, `30s`, `10m` or `2h`. A number without a unit is refused, because its unit would be a guess.
///
/// # Errors
/// A line that starts with `name`, the flag or variable that `text` came from, and says what to write.
pub fn parse(name: &str, text: &str) -> Result<Duration, CliError> {
    let text = text.trim();
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let millis_in_unit = match unit.trim() {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "" if digits > 0 => {
            return Err(CliError::new(format!("{name}={text} has no unit: write {text}s or {text}ms")));
        }
        _ => return Err(CliError::new(format!("{name} is not a duration: write 500ms, 30s or 10m"))),
    };
    let millis = number.parse::<u64>().ok().and_then(|number| number.checked_mul(millis_in_unit));
    match millis {
        // A year is more than any setting needs, and far below what overflows a clock.
        Some(millis @ 1..=31_536_000_000) => Ok(Duration::from_millis(millis)),
        Some(0) => Err(CliError::new(format!("{name} is zero: give a duration above zero"))),
        Some(_) => Err(CliError::new(format!("{name} is longer than a year"))),
        None => Err(CliError::new(format!("{name} is not a duration: write 500ms, 30s or 10m"))),
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
        for text in ["", "s", "-1s", "1.5s", "1 day", "0s", "99999999999999999999s", "20000h"] {
            assert!(parse("T", text).is_err(), "{text}");
        }
    }
}
