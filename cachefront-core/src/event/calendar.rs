//! Days and seconds since 1970 as the text that MySQL prints, in UTC. Every source must print alike, because the text can be
//! part of a key.

use crate::event::text::Text;

/// Seconds of a day.
const DAY_SECONDS: i64 = 86_400;

/// Days of the years 0 to 9999, with room on both sides: no intermediate result can overflow.
const DAYS_MAX: i64 = 4_000_000;

/// Bytes of three numbers of 64 bits with separators between them.
const NUMBERS_BYTES: usize = 64;

/// How many numbers are printed at once.
const NUMBERS_MAX: usize = 3;

/// Prints a day, counted from 1970-01-01, as `YYYY-MM-DD`. Returns `None` if its year is not one of 0 to 9999.
pub fn date_text(days: i64) -> Option<Text> {
    let mut text = Text::new();
    push_date(&mut text, days)?;
    Some(text)
}

/// Appends a day, as [`date_text`] prints it. Returns `None` if that does.
fn push_date(text: &mut Text, days: i64) -> Option<()> {
    let (year, month, day) = civil_date(days)?;
    push_numbers(text, '-', &[(year, 4), (month, 2), (day, 2)]);
    Some(())
}

/// Appends numbers with a separator of ASCII between them. Each has at least as many digits as its width, which is at most 19;
/// zeros are added in front. Formatting by the standard library would cost several times as much, for each row of a log.
pub fn push_numbers(text: &mut Text, separator: char, numbers: &[(i64, u32)]) {
    for (index, numbers) in numbers.chunks(NUMBERS_MAX).enumerate() {
        if index > 0 {
            text.push(separator);
        }
        push_few(text, separator as u8, numbers);
    }
}

/// Appends at most [`NUMBERS_MAX`] numbers in one step.
fn push_few(text: &mut Text, separator: u8, numbers: &[(i64, u32)]) {
    // From the last digit on: a division by a constant is a multiplication.
    let mut bytes = [b'0'; NUMBERS_BYTES];
    let mut begin = NUMBERS_BYTES;
    for (index, &(number, width)) in numbers.iter().enumerate().rev() {
        let (mut rest, mut left) = (number.unsigned_abs(), width.clamp(1, 19));
        while rest > 0 || left > 0 {
            begin -= 1;
            if let Some(digit) = bytes.get_mut(begin) {
                *digit = b'0' + (rest % 10) as u8;
            }
            rest /= 10;
            left = left.saturating_sub(1);
        }
        if index > 0 {
            begin -= 1;
            if let Some(between) = bytes.get_mut(begin) {
                *between = separator;
            }
        }
    }
    text.push_str(bytes.get(begin..).and_then(|printed| std::str::from_utf8(printed).ok()).unwrap_or_default());
}

/// Prints a point in time, in seconds since 1970-01-01 00:00:00, as `YYYY-MM-DD hh:mm:ss`. Returns `None` if its year is not
/// one of 0 to 9999.
pub fn datetime_text(seconds: i64) -> Option<Text> {
    let mut text = Text::new();
    push_datetime(&mut text, seconds)?;
    Some(text)
}

/// Appends a point in time, as [`datetime_text`] prints it. Returns `None` if that does.
pub fn push_datetime(text: &mut Text, seconds: i64) -> Option<()> {
    let (year, month, day) = civil_date(seconds.div_euclid(DAY_SECONDS))?;
    let time = seconds.rem_euclid(DAY_SECONDS);
    push_civil(text, [year, month, day], [time / 3_600, time / 60 % 60, time % 60]);
    Some(())
}

/// Appends year, month and day, then hour, minute and second, as `YYYY-MM-DD hh:mm:ss`. A number that has more digits is printed
/// with all of them.
pub fn push_civil(text: &mut Text, date: [i64; 3], time: [i64; 3]) {
    let ([year, month, day], [hour, minute, second]) = (date, time);
    let pairs = [year / 100, year % 100, month, day, hour, minute, second];
    if year < 0 || pairs.iter().any(|pair| !(0..100).contains(pair)) {
        push_numbers(text, '-', &[(year, 4), (month, 2), (day, 2)]);
        text.push(' ');
        return push_numbers(text, ':', &[(hour, 2), (minute, 2), (second, 2)]);
    }
    // One step for all: each row of a log may have several times.
    let mut printed = *b"0000-00-00 00:00:00";
    for (pair, place) in pairs.into_iter().zip([0, 2, 5, 8, 11, 14, 17]) {
        if let Some([tens, ones]) = printed.get_mut(place..place + 2) {
            *tens += (pair / 10) as u8;
            *ones += (pair % 10) as u8;
        }
    }
    text.push_str(std::str::from_utf8(&printed).unwrap_or_default());
}

/// The year, month and day of a day that is counted from 1970-01-01, in the proleptic Gregorian calendar.
///
/// This is `civil_from_days` of Howard Hinnant, <https://howardhinnant.github.io/date_algorithms.html>.
fn civil_date(days: i64) -> Option<(i64, i64, i64)> {
    if !(-DAYS_MAX..=DAYS_MAX).contains(&days) {
        return None;
    }
    // Days since 0000-03-01, in eras of 400 years. The year begins in March, so that the leap day is its last.
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted.div_euclid(146_097), shifted.rem_euclid(146_097));
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    let year = era * 400 + year_of_era + i64::from(month <= 2);
    (0..=9_999).contains(&year).then_some((year, month, day))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_become_dates() {
        assert_eq!(date_text(0).as_deref(), Some("1970-01-01"));
        assert_eq!(date_text(7_363).as_deref(), Some("1990-02-28"));
        assert_eq!(date_text(-354_285).as_deref(), Some("1000-01-01"));
        assert_eq!(date_text(2_932_896).as_deref(), Some("9999-12-31"));
        for out_of_range in [2_932_897, -719_529, i64::MIN, i64::MAX] {
            assert_eq!(date_text(out_of_range), None);
        }
    }

    #[test]
    fn numbers_have_at_least_their_width() {
        let mut text = Text::new();
        push_numbers(&mut text, ':', &[(838, 2), (5, 2), (0, 1), (12_345, 4), (7, 6), (i64::MAX, 19)]);
        assert_eq!(text, "838:05:0:12345:000007:9223372036854775807");
        let mut text = Text::new();
        push_numbers(&mut text, '-', &[(0, 4), (0, 0), (10, 1), (100, 2), (-7, 3), (i64::MIN, 1), (99, 19)]);
        assert_eq!(text, "0000-0-10-100-007-9223372036854775808-0000000000000000099");
    }

    #[test]
    fn dates_and_times_have_all_digits() {
        let civil = |date, time| {
            let mut text = Text::new();
            push_civil(&mut text, date, time);
            text
        };
        assert_eq!(civil([2026, 1, 9], [0, 7, 59]), "2026-01-09 00:07:59");
        assert_eq!(civil([0, 0, 0], [99, 99, 99]), "0000-00-00 99:99:99");
        assert_eq!(civil([9_999, 12, 31], [23, 0, 10]), "9999-12-31 23:00:10");
        assert_eq!(civil([10_082, 3, 1], [1, 2, 3]), "10082-03-01 01:02:03");
        assert_eq!(civil([7, 1, 1], [100, 2, 3]), "0007-01-01 100:02:03");
    }

    #[test]
    fn seconds_become_dates_and_times() {
        assert_eq!(datetime_text(1).as_deref(), Some("1970-01-01 00:00:01"));
        assert_eq!(datetime_text(-1).as_deref(), Some("1969-12-31 23:59:59"));
        assert_eq!(datetime_text(951_782_400).as_deref(), Some("2000-02-29 00:00:00"));
        assert_eq!(datetime_text(1_795_395_723).as_deref(), Some("2026-11-23 01:02:03"));
        assert_eq!(datetime_text(i64::from(u32::MAX)).as_deref(), Some("2106-02-07 06:28:15"));
    }
}
