//! The signs: drawn once in the page, used by name.

use maud::{Markup, PreEscaped, html};

/// Every sign, for the top of a page.
pub(crate) fn sprite() -> Markup {
    PreEscaped(include_str!("../assets/icons.svg").to_owned())
}

/// A sign beside words that say the same.
pub(crate) fn icon(name: &str) -> Markup {
    html! { svg.i aria-hidden="true" { use href=(format!("#{name}")) {} } }
}
