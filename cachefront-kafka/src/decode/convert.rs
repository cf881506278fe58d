//! Conversion of JSON to the value that MySQL's binary log has for the same column, so that both sources build equal
//! keys. The encodings are those of Debezium's [data types].
//!
//! [data types]: https://debezium.io/documentation/reference/stable/connectors/mysql.html#mysql-data-types
//!
//! | column | setting of the connector | JSON | value |
//! |---|---|---|---|
//! | BIGINT UNSIGNED | `long` | number, negative from 2^63 on | `UInt` |
//! | BIGINT UNSIGNED | `precise` | two's complement, big-endian, base64 | `UInt` |
//! | DECIMAL | `precise` | unscaled two's complement, big-endian, base64 | `Text` |
//! | DECIMAL | `string` | text | `Text` |
//! | DECIMAL | `double` | number | `Float`, as exact as that is |
//! | DATE | `adaptive_time_microseconds` | days since 1970 | `Text` |
//! | TIME | the same | microseconds | `Text` |
//! | DATETIME | the same | milliseconds, or microseconds from 4 digits on | `Text` |
//! | TIMESTAMP | any | ISO text in UTC | `Text` |
//! | BIT(1), BIT(n) | any | true or false; little-endian bytes, base64 | `UInt` |
//! | BINARY, BLOB | `bytes`, `base64-url-safe`, `hex` | text | `Bytes` |

use base64::Engine;
use base64::engine::general_purpose::GeneralPurpose;
use base64::engine::{DecodePaddingMode, GeneralPurposeConfig};
use cachefront_core::event::{Text, Value};

use super::calendar;
use super::json::Json;
#[cfg(test)]
use super::json::parse;
use super::settings::{BytesForm, ColumnType, TimeUnit};

/// Encoders differ in whether they pad.
const ANY_PADDING: GeneralPurposeConfig =
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
/// The standard alphabet.
const BASE64: GeneralPurpose = GeneralPurpose::new(&base64::alphabet::STANDARD, ANY_PADDING);
/// The alphabet for URLs and names of files.
const BASE64_URL: GeneralPurpose = GeneralPurpose::new(&base64::alphabet::URL_SAFE, ANY_PADDING);
/// Maximum number of bytes of a DECIMAL: MySQL allows 65 digits, and the conversion is quadratic in the length.
const DECIMAL_BYTES_MAX: usize = 32;
/// Maximum number of digits after the decimal point that MySQL allows.
const SCALE_MAX: u32 = 30;

/// A column's type, and where it comes from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Kind {
    pub(super) of: ColumnType,
    /// The record's own schema names the type, so a DECIMAL is in base64.
    pub(super) by_schema: bool,
}

/// Why a value cannot be converted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mismatch {
    /// It is something else than the type requires.
    Wanted(&'static str),
    /// It is a DECIMAL both as text and as base64, and the two differ.
    Ambiguous,
}

/// Converts a column's value.
///
/// # Errors
/// If it cannot be a value of the type, or could be two.
#[inline]
pub(super) fn value(json: Json<'_>, kind: Kind) -> Result<Value, Mismatch> {
    if kind.of == ColumnType::Plain {
        return Ok(plain(json));
    }
    match (kind.of, json) {
        (_, Json::Null) => Ok(Value::Null),
        (ColumnType::Decimal { scale }, Json::Text(text)) => decimal_text(&text, scale, kind.by_schema).map(text_value),
        (of, json) => typed(json, of).ok_or_else(|| Mismatch::Wanted(expected(of))),
    }
}

/// A value whose type needs no conversion.
fn plain(json: Json<'_>) -> Value {
    match json {
        Json::Null => Value::Null,
        Json::Bool(bit) => Value::UInt(u64::from(bit)),
        Json::Int(number) => Value::Int(number),
        Json::UInt(number) => Value::UInt(number),
        Json::Float(number) => Value::Float(number),
        Json::Text(text) => text_value(text),
        Json::Raw(raw) => Value::Text(raw.into()),
    }
}

fn text_value(text: impl Into<Text>) -> Value {
    Value::Text(text.into())
}

/// Returns `None` if the JSON cannot be a value of the type.
fn typed(json: Json<'_>, kind: ColumnType) -> Option<Value> {
    match (kind, json) {
        (ColumnType::Unsigned | ColumnType::Year, Json::UInt(number)) => Some(Value::UInt(number)),
        (ColumnType::Year, Json::Int(number)) => u64::try_from(number).ok().map(Value::UInt),
        // The connector has no unsigned 64-bit type: larger numbers wrap to negative ones.
        (ColumnType::Unsigned, Json::Int(number)) => Some(Value::UInt(number.cast_unsigned())),
        (ColumnType::Unsigned, Json::Text(text)) => unsigned(&BASE64.decode(text.as_bytes()).ok()?).map(Value::UInt),
        (ColumnType::Float, json) => float(&json),
        (ColumnType::Decimal { .. }, json @ (Json::Float(_) | Json::Int(_) | Json::UInt(_))) => Some(plain(json)),
        (ColumnType::Date, Json::Int(days)) => calendar::date(days).map(text_value),
        (ColumnType::Date, Json::Text(text)) => calendar::iso_date(&text).map(text_value),
        (ColumnType::Time { unit, digits }, Json::Int(number)) => calendar::time(number, unit, digits).map(text_value),
        (ColumnType::Time { digits, .. }, Json::Text(text)) => calendar::iso_time(&text, digits).map(text_value),
        (ColumnType::DateTime { unit, digits }, Json::Int(number)) => {
            calendar::datetime(number, unit, digits).map(text_value)
        }
        (ColumnType::DateTime { digits, .. } | ColumnType::Timestamp { digits }, Json::Text(text)) => {
            calendar::iso_datetime(&text, digits).map(text_value)
        }
        (ColumnType::Timestamp { digits }, Json::Int(number)) => {
            calendar::datetime(number, TimeUnit::Millis, digits).map(text_value)
        }
        (ColumnType::Bit, Json::Bool(bit)) => Some(Value::UInt(u64::from(bit))),
        (ColumnType::Bit, Json::Text(text)) => bits(BASE64.decode(text.as_bytes()).ok()?).map(Value::UInt),
        (ColumnType::Bytes(form), Json::Text(text)) => bytes(&text, form).map(|bytes| Value::Bytes(bytes.into())),
        (ColumnType::Json, Json::Text(text)) => Some(text_value(spaced(&text))),
        _ => None,
    }
}

/// What the type requires, for messages.
fn expected(kind: ColumnType) -> &'static str {
    match kind {
        ColumnType::Plain => "a value",
        ColumnType::Unsigned => "an unsigned number, as such or in base64",
        ColumnType::Float => "a number",
        ColumnType::Decimal { .. } => "a DECIMAL, as text or in base64",
        ColumnType::Date => "a date: days since 1970 or ISO text",
        ColumnType::Time { .. } => "a time: a number or ISO text",
        ColumnType::DateTime { .. } => "a date and time: a number since 1970 or ISO text",
        ColumnType::Timestamp { .. } => "a point in time as ISO text",
        ColumnType::Year => "a year",
        ColumnType::Bit => "true, false or bits in base64",
        ColumnType::Bytes(BytesForm::Base64) => "bytes in base64",
        ColumnType::Bytes(BytesForm::Base64Url) => "bytes in base64 for URLs",
        ColumnType::Bytes(BytesForm::Hex) => "bytes in hexadecimal digits",
        ColumnType::Json => "JSON as text",
    }
}

/// Rounds to single precision, which the log has too; the connector prints more digits.
fn float(json: &Json<'_>) -> Option<Value> {
    let number = match json {
        Json::Float(number) => *number,
        Json::Int(number) => *number as f64,
        _ => return None,
    };
    Some(Value::Float(f64::from(number as f32)))
}

/// Reads a number in two's complement, big-endian. Returns `None` if it is negative or above 64 bits.
fn unsigned(bytes: &[u8]) -> Option<u64> {
    let significant = match bytes {
        [0, rest @ ..] if rest.len() <= 8 => rest,
        [first, ..] if *first >= 0x80 => return None,
        bytes => bytes,
    };
    (significant.len() <= 8).then(|| significant.iter().fold(0, |number, &byte| number << 8 | u64::from(byte)))
}

/// Reads bits, little-endian. Returns `None` above 64 bits.
fn bits(bytes: Vec<u8>) -> Option<u64> {
    (bytes.len() <= 8).then(|| bytes.iter().rev().fold(0, |number, &byte| number << 8 | u64::from(byte)))
}

/// Decodes bytes in the form that the connector writes.
fn bytes(text: &str, form: BytesForm) -> Option<Vec<u8>> {
    match form {
        BytesForm::Base64 => BASE64.decode(text.as_bytes()).ok(),
        BytesForm::Base64Url => BASE64_URL.decode(text.as_bytes()).ok(),
        BytesForm::Hex => hex(text.as_bytes()),
    }
}

/// Decodes pairs of hexadecimal digits.
fn hex(text: &[u8]) -> Option<Vec<u8>> {
    let digit = |byte: u8| char::from(byte).to_digit(16).map(|digit| digit as u8);
    let (pairs, odd) = text.as_chunks::<2>();
    if !odd.is_empty() {
        return None;
    }
    pairs.iter().map(|&[high, low]| Some(digit(high)? << 4 | digit(low)?)).collect()
}

/// Returns a DECIMAL's text. With `decimal.handling.mode=string` the record has it already: the decimal point distinguishes it
/// from base64.
///
/// # Errors
/// Without a point (scale 0) digits may be base64 too, which only a schema in the record decides.
fn decimal_text(text: &str, scale: u32, by_schema: bool) -> Result<String, Mismatch> {
    let wanted = Mismatch::Wanted(expected(ColumnType::Decimal { scale }));
    if scale > SCALE_MAX {
        return Err(wanted);
    }
    if scale > 0 && text.contains('.') {
        return Ok(text.to_owned());
    }
    let decoded = BASE64.decode(text.as_bytes()).ok().and_then(|bytes| decimal(&bytes, scale as usize));
    let digits = text.strip_prefix('-').unwrap_or(text);
    let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    match decoded {
        Some(_) if is_number && scale == 0 && !by_schema => Err(Mismatch::Ambiguous),
        Some(decoded) => Ok(decoded),
        None if is_number && scale == 0 => Ok(text.to_owned()),
        None => Err(wanted),
    }
}

/// Returns the decimal digits of a number in two's complement, big-endian, with the point before the last `scale`.
///
/// Divides by ten repeatedly: at most 65 digits, so no library of large numbers is needed.
fn decimal(bytes: &[u8], scale: usize) -> Option<String> {
    let first = *bytes.first()?;
    if bytes.len() > DECIMAL_BYTES_MAX {
        return None;
    }
    let negative = first >= 0x80;
    let mut magnitude = bytes.to_vec();
    if negative {
        let mut carry = true;
        for byte in magnitude.iter_mut().rev() {
            (*byte, carry) = (!*byte).overflowing_add(u8::from(carry));
        }
    }
    let mut digits = Vec::with_capacity(bytes.len() * 5 / 2 + scale);
    while magnitude.iter().any(|&byte| byte != 0) {
        let mut remainder = 0_u32;
        for byte in &mut magnitude {
            let dividend = remainder << 8 | u32::from(*byte);
            *byte = (dividend / 10) as u8;
            remainder = dividend % 10;
        }
        digits.push(b'0' + remainder as u8);
    }
    while digits.len() <= scale {
        digits.push(b'0');
    }
    let mut text = String::with_capacity(digits.len() + 2);
    if negative {
        text.push('-');
    }
    for (index, &digit) in digits.iter().enumerate().rev() {
        text.push(char::from(digit));
        if index == scale && scale > 0 {
            text.push('.');
        }
    }
    Some(text)
}

/// Returns JSON with one space after each `:` and `,`, as the server prints it: a snapshot has them, the stream does
/// not.
fn spaced(json: &str) -> String {
    let mut text = String::with_capacity(json.len() + json.len() / 8);
    let (mut quoted, mut escaped) = (false, false);
    for character in json.chars() {
        if quoted {
            text.push(character);
            quoted = escaped || character != '"';
            escaped = !escaped && character == '\\';
            continue;
        }
        match character {
            ' ' | '\t' | '\n' | '\r' => {}
            ':' | ',' => {
                text.push(character);
                text.push(' ');
            }
            _ => {
                quoted = character == '"';
                text.push(character);
            }
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn converted(json: &str, kind: ColumnType) -> Value {
        configured(parse(json).expect("JSON"), kind).expect("a value")
    }

    /// The value of a column whose type the settings name.
    fn configured(json: Json<'_>, of: ColumnType) -> Result<Value, Mismatch> {
        value(json, Kind { of, by_schema: false })
    }

    fn text(text: &str) -> Value {
        Value::Text(text.into())
    }

    #[test]
    fn decimals_keep_every_digit() {
        let decimal = |json, scale| converted(json, ColumnType::Decimal { scale });
        assert_eq!(decimal("\"AeI6\"", 2), text("1234.50"));
        assert_eq!(decimal("\"1234.50\"", 2), text("1234.50"));
        assert_eq!(decimal("\"+y4=\"", 2), text("-12.34"));
        assert_eq!(decimal("\"AA==\"", 2), text("0.00"));
        assert_eq!(decimal("\"/w==\"", 6), text("-0.000001"));
        assert_eq!(decimal("\"K9xUXWtLhw==\"", 0), text("12345678901234567"));
        assert_eq!(decimal("1234.5", 2), Value::Float(1234.5));
        assert_eq!(decimal("null", 2), Value::Null);
        assert!(configured(Json::Text("!".into()), ColumnType::Decimal { scale: 2 }).is_err());
        assert!(configured(Json::Text("".into()), ColumnType::Decimal { scale: 2 }).is_err());
    }

    #[test]
    fn digits_that_may_be_base64_are_no_decimal() {
        let integer = ColumnType::Decimal { scale: 0 };
        assert_eq!(configured(Json::Text("12345678".into()), integer), Err(Mismatch::Ambiguous));
        let of_schema = value(Json::Text("1234".into()), Kind { of: integer, by_schema: true });
        assert_eq!(of_schema, Ok(text("-2658824")), "a schema says that it is base64");
        let fraction = configured(Json::Text("1234".into()), ColumnType::Decimal { scale: 2 });
        assert_eq!(fraction, Ok(text("-26588.24")), "as text it would have a point");
        for digits in ["12345", "-1234", "0", "123456789"] {
            let kept = configured(Json::Text(digits.into()), integer);
            assert_eq!(kept, Ok(text(digits)), "it cannot be base64");
        }
    }

    #[test]
    fn unsigned_numbers_come_in_three_forms() {
        for (json, number) in [
            ("-1", u64::MAX),
            ("7", 7),
            ("18446744073709551615", u64::MAX),
            ("\"AQ==\"", 1),
            ("\"AP//////////\"", u64::MAX),
            ("\"gAA=\"", 0),
        ] {
            let json = parse(json).expect("JSON");
            let expected = if number == 0 {
                Err(Mismatch::Wanted(expected(ColumnType::Unsigned)))
            } else {
                Ok(Value::UInt(number))
            };
            assert_eq!(configured(json, ColumnType::Unsigned), expected);
        }
        assert_eq!(converted("2024", ColumnType::Year), Value::UInt(2024));
    }

    #[test]
    fn bytes_bits_and_json_equal_those_of_the_log() {
        let bytes = Value::Bytes([0, 255, 16].into());
        assert_eq!(converted("\"AP8Q\"", ColumnType::Bytes(BytesForm::Base64)), bytes);
        assert_eq!(converted("\"AP8Q\"", ColumnType::Bytes(BytesForm::Base64Url)), bytes);
        assert_eq!(converted("\"00ff10\"", ColumnType::Bytes(BytesForm::Hex)), bytes);
        assert!(configured(Json::Text("00f".into()), ColumnType::Bytes(BytesForm::Hex)).is_err());
        assert_eq!(converted("\"AQAI\"", ColumnType::Bit), Value::UInt(0b1000_0000_0000_0000_0001));
        assert_eq!(converted("true", ColumnType::Bit), Value::UInt(1));
        assert_eq!(converted("0.1", ColumnType::Float), Value::Float(f64::from(0.1_f32)));
        let spaced = text(r#"{"n": 1, "t\"he,me": ["a:b", 2]}"#);
        assert_eq!(converted(r#""{\"n\":1,\"t\\\"he,me\":[\"a:b\",2]}""#, ColumnType::Json), spaced);
        assert_eq!(converted(r#""{\"n\": 1, \"t\\\"he,me\": [\"a:b\", 2]}""#, ColumnType::Json), spaced);
    }
}
