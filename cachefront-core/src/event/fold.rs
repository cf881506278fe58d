//! Names of tables as a server that folds them has them: for adapters.
//!
//! A server with [`lower_case_table_names`](https://dev.mysql.com/doc/refman/8.4/en/identifier-case-sensitivity.html) 1 or 2 finds
//! a table under any case of its name, and writes the name in lower case. It folds each character for itself, by a table that has
//! a lower case for the dotted capital I alone.

use crate::event::table::TableName;

impl TableName {
    /// Returns the name in lower case, as a server writes it that folds names.
    ///
    /// ```
    /// use cachefront::event::TableName;
    ///
    /// assert_eq!(TableName::from("Shop.Übersicht").lower(), TableName::from("shop.übersicht"));
    /// ```
    pub fn lower(&self) -> Self {
        self.map_parts(lower)
    }

    /// Returns a form of the name that is equal for all names which a server that folds names takes for one; for a few others too,
    /// such as those that differ in the two small sigmas.
    pub fn folded(&self) -> Self {
        self.map_parts(|name| name.chars().map(fold_char).collect())
    }
}

/// Returns a name in lower case, as a server writes it that folds names.
pub fn lower(name: &str) -> String {
    name.chars().map(lower_char).collect()
}

/// Returns the lower case of a character that has a single one, and otherwise the character.
fn lower_char(character: char) -> char {
    if character == '\u{130}' {
        return 'i';
    }
    single(character.to_lowercase()).unwrap_or(character)
}

/// Returns the lower case of the upper case of a character, where these are single characters: characters that the server takes for
/// equal become equal.
pub fn fold_char(character: char) -> char {
    if character == '\u{130}' {
        return 'i';
    }
    lower_char(single(character.to_uppercase()).unwrap_or(character))
}

/// Returns the only character; `None` if there are more.
fn single(mut characters: impl Iterator<Item = char>) -> Option<char> {
    characters.next().filter(|_| characters.next().is_none())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every character that the server changes when it folds a name, each followed by the result: `LOWER` of MySQL 9.7 in
    /// utf8mb3_general_ci, which has the table that names are folded by.
    const SERVER: &str = include_str!("lower.txt");

    #[test]
    fn every_character_becomes_what_the_server_makes_of_it() {
        let pairs: Vec<Vec<char>> = SERVER.split_whitespace().map(|pair| pair.chars().collect()).collect();
        assert!(pairs.len() > 600, "{}", pairs.len());
        for pair in pairs {
            assert_eq!(lower_char(pair[0]), pair[1], "{pair:?}");
            assert_eq!(fold_char(pair[0]), fold_char(pair[1]), "{pair:?}");
        }
    }

    #[test]
    fn characters_with_a_single_other_case_fold_to_one() {
        let folded = |name: &str| TableName::new(name, name).folded();
        for (one, other) in [("ÄÖÜ", "äöü"), ("ЖЁ", "жё"), ("ΣΑΣ", "σας"), ("İ", "i"), ("\u{212a}", "k"), ("Ǆ", "ǅ")]
        {
            assert_eq!(folded(one), folded(other), "{one} {other}");
        }
        assert_ne!(folded("a"), folded("ä"));
    }

    #[test]
    fn the_parts_of_a_name_stay_apart() {
        assert_eq!(TableName::new("Shop.Example", "Users").lower(), TableName::new("shop.example", "users"));
        assert_eq!(TableName::from("Users").lower(), TableName::from("users"));
        assert_eq!(TableName::from("A.B.C").folded(), TableName::from("a.b.c"));
    }
}
