//! JSON without white space, exactly as it was otherwise.

/// Removes the white space between the tokens of a JSON text. Numbers and escapes stay as they are.
pub(crate) fn compact(json: &str) -> String {
    let (mut quoted, mut escaped) = (false, false);
    let keep = |character: &char| {
        let keep = quoted || !character.is_ascii_whitespace();
        quoted = if quoted { escaped || *character != '"' } else { *character == '"' };
        escaped = quoted && !escaped && *character == '\\';
        keep
    };
    json.chars().filter(keep).collect()
}
