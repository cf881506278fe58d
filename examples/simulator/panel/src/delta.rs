//! The difference between two renderings of a part, so that a number that has changed is pushed without the markup around it.
//!
//! A text is cut into pieces before each `<`. The script of the page cuts what it was sent in the same way.

use std::collections::HashMap;

use maud::Markup;
use serde::ser::SerializeSeq;
use serde::{Serialize, Serializer};
use serde_json::{Map, Value, json};

/// Estimated bytes that an edit takes besides its pieces.
const EDIT_BYTES: usize = 16;

/// Number of equal pieces after which two texts count as going on in the same way.
const SAME: usize = 2;

/// Maximum number of pieces of a difference, in both texts together.
const SKIP_MAX: usize = 48;

/// A replacement: the number of the first piece, the number of pieces that go, and those that come in their place. It is sent as
/// one list.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Edit<'a>(usize, usize, Vec<&'a str>);

impl Serialize for Edit<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self(first, count, pieces) = self;
        let mut list = serializer.serialize_seq(Some(2 + pieces.len()))?;
        list.serialize_element(first)?;
        list.serialize_element(count)?;
        pieces.iter().try_for_each(|piece| list.serialize_element(piece))?;
        list.end()
    }
}

/// The parts as a tab has them.
#[derive(Debug, Default)]
pub(super) struct Shown {
    parts: HashMap<&'static str, String>,
    title: String,
}

impl Shown {
    /// Returns the patch that makes the tab show these parts and this title, `None` if it does already. A part that the tab
    /// does not have, or that has changed as a whole, is in `parts`; of others only the changes are in `edits`.
    pub(super) fn update(&mut self, title: &str, parts: Vec<(&'static str, Markup)>) -> Option<Map<String, Value>> {
        let (mut whole, mut edited) = (Map::new(), Map::new());
        for (name, markup) in parts {
            let text = markup.into_string();
            let old = self.parts.get(name).map(String::as_str);
            if old == Some(text.as_str()) {
                continue;
            }
            match old.and_then(|old| edits(old, &text)) {
                Some(edits) => edited.insert(name.to_owned(), json!(edits)),
                None => whole.insert(name.to_owned(), json!(text)),
            };
            self.parts.insert(name, text);
        }
        let mut patch = Map::new();
        for (name, changed) in [("parts", whole), ("edits", edited)] {
            if !changed.is_empty() {
                patch.insert(name.to_owned(), Value::Object(changed));
            }
        }
        if self.title != title {
            title.clone_into(&mut self.title);
            patch.insert("title".to_owned(), json!(title));
        }
        (!patch.is_empty()).then_some(patch)
    }
}

/// Returns the edits that turn `old` into `new`, by ascending numbers of the pieces of `old`; `None` if `new` as a whole is
/// hardly longer.
fn edits<'a>(old: &str, new: &'a str) -> Option<Vec<Edit<'a>>> {
    let old: Vec<&str> = old.split('<').collect();
    let new: Vec<&str> = new.split('<').collect();
    let edits = differences(&old, &new);
    let size: usize = edits.iter().map(|Edit(.., pieces)| EDIT_BYTES + length(pieces)).sum();
    (size < length(&new) / 2).then_some(edits)
}

/// Returns one edit for each place where the texts differ.
fn differences<'a>(old: &[&str], new: &[&'a str]) -> Vec<Edit<'a>> {
    let (mut at, mut to, mut edits) = (0, 0, Vec::new());
    loop {
        let same = old[at..].iter().zip(&new[to..]).take_while(|(old, new)| old == new).count();
        (at, to) = (at + same, to + same);
        if at == old.len() && to == new.len() {
            return edits;
        }
        let (gone, come) = end_of_difference(&old[at..], &new[to..]);
        edits.push(Edit(at, gone, new[to..to + come].to_vec()));
        (at, to) = (at + gone, to + come);
    }
}

/// Returns after how many pieces of each text both go on in the same way: all pieces if there are too many.
fn end_of_difference(old: &[&str], new: &[&str]) -> (usize, usize) {
    let ways = (1..=SKIP_MAX).flat_map(|skip| (0..=skip).map(move |gone| (gone, skip - gone)));
    let mut fitting = ways.filter(|(gone, come)| match (old.get(*gone..), new.get(*come..)) {
        (Some(old), Some(new)) => {
            let count = SAME.min(old.len().max(new.len()));
            old.get(..count).is_some_and(|old| new.get(..count) == Some(old))
        }
        _ => false,
    });
    fitting.next().unwrap_or((old.len(), new.len()))
}

fn length(pieces: &[&str]) -> usize {
    pieces.iter().map(|piece| piece.len() + 1).sum()
}

#[cfg(test)]
mod tests {
    use maud::{PreEscaped, html};

    use super::*;

    /// What the script of a page does.
    fn applied(old: &str, edits: &[Edit<'_>]) -> String {
        let mut pieces: Vec<&str> = old.split('<').collect();
        for Edit(at, count, put) in edits.iter().rev() {
            pieces.splice(*at..at + count, put.iter().copied());
        }
        pieces.join("<")
    }

    fn row(id: usize, value: &str) -> String {
        format!("<tr data-id=\"{id}\"><td>name of {id}</td><td><b>{value}</b></td></tr>")
    }

    #[test]
    fn edits_turn_the_old_text_into_the_new_one() {
        let rows = |values: &[&str]| values.iter().enumerate().map(|(id, value)| row(id, value)).collect::<String>();
        let old = rows(&["1", "2", "3", "4", "5", "6"]);
        let cases = [
            (rows(&["1", "2", "x", "4", "5", "6"]), 1),
            (rows(&["0", "2", "3", "y", "5", "z"]), 3),
            (rows(&["1", "2", "3", "4", "5", "6", "7"]), 1),
            (rows(&["1", "2", "3", "4", "5"]), 1),
            (old.replacen("</tr>", "</tr><p>a &lt; b</p>", 2), 2),
            // More pieces than before, far apart.
            (rows(&["1</b> to <b>0", "2", "3", "4", "5", "z"]), 2),
            (rows(&["2", "3", "4", "5", "6", "7"]), 6),
        ];
        for (new, count) in cases {
            let edits = edits(&old, &new).unwrap_or_else(|| panic!("shorter than {new}"));
            assert_eq!(applied(&old, &edits), new);
            assert_eq!(edits.len(), count, "{edits:?}");
        }
    }

    #[test]
    fn a_text_that_has_changed_as_a_whole_is_sent_as_a_whole() {
        for (old, new) in
            [("", "<p>first</p>"), ("<p>first</p>", ""), ("<p>one</p><p>two</p>", "<p>three</p><p>four</p>")]
        {
            assert_eq!(edits(old, new), None, "{old} {new}");
        }
    }

    #[test]
    fn a_tab_is_sent_only_what_it_does_not_have() {
        let part = |value: &str| vec![("users", PreEscaped((0..6).map(|id| row(id, value)).collect::<String>()))];
        let mut shown = Shown::default();
        let first = shown.update("cache healthy", part("1")).expect("a first patch");
        assert!(first["parts"]["users"].is_string() && first["title"] == "cache healthy", "{first:?}");
        assert_eq!(shown.update("cache healthy", part("1")), None);
        let second = shown.update("cache healthy", part("2")).expect("a change");
        assert!(second["edits"]["users"].is_array() && second.len() == 1, "{second:?}");
        assert_eq!(second["edits"]["users"][0], json!([5, 1, "b>2"]));
        let third = shown.update("cache stale (1)", part("2")).expect("a change");
        assert_eq!(third.into_iter().collect::<Vec<_>>(), [("title".to_owned(), json!("cache stale (1)"))]);
        assert!(shown.update("cache stale (1)", vec![("banner", html! {})]).expect("a new part").contains_key("parts"));
    }
}
