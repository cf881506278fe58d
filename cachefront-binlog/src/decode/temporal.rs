//! Dates and times, converted to the text that MySQL prints; a TIMESTAMP is printed in UTC.
//!
//! See <https://dev.mysql.com/doc/refman/8.4/en/storage-requirements.html#data-types-storage-reqs-date-time> and
//! `my_time_packed_to_binary` in MySQL's `mysys/my_time.cc`.
//!
//! # Formats
//!
//! | type | bytes | bits, highest first |
//! |---|---:|---|
//! | DATE | 3, little-endian | year 15, month 4, day 5 |
//! | TIME(f) | 3 + fraction | sign 1, unused 1, hour 10, minute 6, second 6 |
//! | DATETIME(f) | 5 + fraction | sign 1, year × 13 + month 17, day 5, hour 5, minute 6, second 6 |
//! | TIMESTAMP(f) | 4 + fraction | seconds since 1970-01-01 00:00:00 UTC |
//! | fraction of 1–2, 3–4, 5–6 digits | 1, 2, 3 | hundredths, ten-thousandths, millionths |
//!
//! All but DATE are big-endian, so that values sort as their bytes do. A negative TIME is stored as
//! the middle of the range minus its absolute value, the fraction included: `-00:00:00.5` is not
//! the negative of a second plus a fraction. A DATE may be `0000-00-00` or have a month or a day of
//! 0.
//!
//! The text is the one that the server sends to a client, with all fractional digits of the column.
//! A TIMESTAMP has no time zone in the log; a client sees it in the time zone of its session.

use cachefront_core::event::Text;
use cachefront_core::event::calendar::{push_civil, push_datetime, push_numbers};
use cachefront_core::{Error, ErrorKind, Result};

use crate::cursor::Cursor;

/// The size in bytes of a fraction of 0 to 6 digits.
pub(crate) fn fraction_bytes(digits: usize) -> usize {
    digits.div_ceil(2)
}

/// DATE. 3 bytes, little-endian: day in 5 bits, month in 4, year.
///
/// # Errors
/// `Corrupt` if the image ends too early, here and in the functions below.
pub(crate) fn date(cursor: &mut Cursor<'_>) -> Result<Text> {
    let packed = cursor.uint(3)?;
    let mut text = Text::new();
    push_numbers(&mut text, '-', &[(packed as i64 >> 9, 4), (packed as i64 >> 5 & 15, 2), (packed as i64 & 31, 2)]);
    Ok(text)
}

/// TIME before MySQL 5.6: the decimal number HHMMSS, signed.
///
/// Columns that were created before 5.6 keep this format until the table is rebuilt.
pub(crate) fn old_time(cursor: &mut Cursor<'_>) -> Result<Text> {
    let packed = sign_extend(cursor.uint(3)?, 24);
    let mut text = Text::from(if packed < 0 { "-" } else { "" });
    push_decimal_time(&mut text, packed.abs());
    Ok(text)
}

/// DATETIME before MySQL 5.6: the decimal number YYYYMMDDHHMMSS.
pub(crate) fn old_datetime(cursor: &mut Cursor<'_>) -> Result<Text> {
    let packed = cursor.u64()?;
    let (date, time) = ((packed / 1_000_000) as i64, (packed % 1_000_000) as i64);
    let mut text = Text::new();
    push_numbers(&mut text, '-', &[(date / 10_000, 4), (date / 100 % 100, 2), (date % 100, 2)]);
    text.push(' ');
    push_decimal_time(&mut text, time);
    Ok(text)
}

/// Appends the time of a decimal number HHMMSS.
fn push_decimal_time(text: &mut Text, time: i64) {
    push_numbers(text, ':', &[(time / 10_000, 2), (time / 100 % 100, 2), (time % 100, 2)]);
}

/// TIME. 3 bytes and the fraction, big-endian, as one number with the middle of its range as zero.
///
/// The hour goes to 838, so it has up to three digits in the text.
pub(crate) fn time(cursor: &mut Cursor<'_>, digits: usize) -> Result<Text> {
    let bits = 8 * (3 + fraction_bytes(digits)) as u32;
    let stored = cursor.uint_be(3 + fraction_bytes(digits))?;
    let middle = 1_i64 << (bits - 1);
    let value = stored as i64 - middle;
    let (sign, value) = if value < 0 { ("-", value.unsigned_abs()) } else { ("", value.unsigned_abs()) };
    let fraction_bits = bits - 24;
    let whole = value >> fraction_bits;
    let fraction = value & ((1 << fraction_bits) - 1);
    let mut text = Text::new();
    text.push_str(sign);
    let whole = whole as i64;
    push_numbers(&mut text, ':', &[(whole >> 12 & 0x3ff, 2), (whole >> 6 & 0x3f, 2), (whole & 0x3f, 2)]);
    push_fraction(&mut text, fraction, digits)?;
    Ok(text)
}

/// DATETIME. 5 bytes and the fraction, big-endian: year and month as one number, day, hour, minute, second.
///
/// Year and month are one number so that a DATETIME is a single integer in the server.
pub(crate) fn datetime(cursor: &mut Cursor<'_>, digits: usize) -> Result<Text> {
    let packed = cursor.uint_be(5)?;
    // The highest bit is the sign, which is set for every date of MySQL.
    let packed = (packed & 0x7f_ffff_ffff) as i64;
    let (year_month, day) = (packed >> 22, packed >> 17 & 31);
    let mut text = Text::new();
    push_civil(&mut text, [year_month / 13, year_month % 13, day], [packed >> 12 & 31, packed >> 6 & 63, packed & 63]);
    let fraction = cursor.uint_be(fraction_bytes(digits))?;
    push_fraction(&mut text, fraction, digits)?;
    Ok(text)
}

/// The format of all these types within JSON, 8 bytes: date and time in the upper 40 bits, microseconds in the lower 24.
///
/// `date_only` and `time_only` come from the type within the document; without them it is a
/// DATETIME.
pub(crate) fn packed(packed: u64, date_only: bool, time_only: bool) -> Text {
    let (sign, packed) = match packed as i64 {
        negative if negative < 0 => ("-", negative.unsigned_abs()),
        _ => ("", packed),
    };
    let (micros, whole) = ((packed & 0xff_ffff) as i64, (packed >> 24) as i64);
    let mut text = Text::new();
    if time_only {
        text.push_str(sign);
        push_numbers(&mut text, ':', &[(whole >> 12 & 0x3ff, 2), (whole >> 6 & 63, 2), (whole & 63, 2)]);
    } else {
        let (year_month, day) = (whole >> 22, whole >> 17 & 31);
        push_numbers(&mut text, '-', &[(year_month / 13, 4), (year_month % 13, 2), (day, 2)]);
        if date_only {
            return text;
        }
        text.push(' ');
        push_numbers(&mut text, ':', &[(whole >> 12 & 31, 2), (whole >> 6 & 63, 2), (whole & 63, 2)]);
    }
    text.push('.');
    push_numbers(&mut text, '.', &[(micros, 6)]);
    text
}

/// TIMESTAMP. Seconds since 1970, then the fraction, both big-endian.
pub(crate) fn timestamp(cursor: &mut Cursor<'_>, digits: usize) -> Result<Text> {
    let mut text = Text::new();
    utc(&mut text, u32::from_be_bytes(cursor.array()?))?;
    let fraction = cursor.uint_be(fraction_bytes(digits))?;
    push_fraction(&mut text, fraction, digits)?;
    Ok(text)
}

/// TIMESTAMP before MySQL 5.6: seconds since 1970, little-endian.
pub(crate) fn old_timestamp(cursor: &mut Cursor<'_>) -> Result<Text> {
    let mut text = Text::new();
    utc(&mut text, cursor.u32()?)?;
    Ok(text)
}

/// Appends the date and time in UTC. 0 is what MySQL stores for the zero date.
fn utc(text: &mut Text, seconds: u32) -> Result<()> {
    if seconds == 0 {
        text.push_str("0000-00-00 00:00:00");
        return Ok(());
    }
    push_datetime(text, i64::from(seconds)).ok_or_else(|| Error::new(ErrorKind::Corrupt, "a TIMESTAMP is out of range"))
}

/// Appends a fraction. It is stored with an even number of digits: 3 digits are stored as 4.
fn push_fraction(text: &mut Text, stored: u64, digits: usize) -> Result<()> {
    if digits == 0 {
        return Ok(());
    }
    let stored_digits = digits.div_ceil(2) as u32 * 2;
    if stored >= 10_u64.pow(stored_digits) {
        return Err(Error::new(ErrorKind::Corrupt, "a fraction of a second in the log is malformed"));
    }
    let shown = if digits.is_multiple_of(2) { stored } else { stored / 10 };
    let mut printed = *b".000000";
    let (mut rest, last) = (shown, digits.min(6));
    for digit in printed.iter_mut().skip(1).take(last).rev() {
        *digit += (rest % 10) as u8;
        rest /= 10;
    }
    text.push_str(printed.get(..=last).and_then(|printed| std::str::from_utf8(printed).ok()).unwrap_or_default());
    Ok(())
}

/// `bits` is the size of the stored number; the result has its sign.
pub(crate) fn sign_extend(value: u64, bits: u32) -> i64 {
    let shift = 64 - bits;
    ((value << shift) as i64) >> shift
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fraction_of_a_negative_time_is_subtracted() {
        // -00:00:00.5 in TIME(2): one step of the fraction below the middle less 50.
        let stored = (1_u64 << 31) - 50;
        let bytes = (stored as u32).to_be_bytes();
        assert_eq!(time(&mut Cursor::new(&bytes), 2).expect("a time"), "-00:00:00.50");
        assert_eq!(sign_extend(0xff_ffff, 24), -1);
        assert_eq!(sign_extend(0x7f_ffff, 24), 8_388_607);
    }
}
