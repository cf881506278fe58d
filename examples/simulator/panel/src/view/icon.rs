//! The icons: defined once per page, used by name.

use maud::{Markup, PreEscaped, html};

/// Renders the definitions of all icons, for the top of a page.
pub(crate) fn sprite() -> Markup {
    PreEscaped(include_str!("../assets/icons.svg").to_owned())
}

/// Renders an icon next to a text with the same meaning, so it is hidden from screen readers.
pub(crate) fn icon(name: &str) -> Markup {
    html! { svg.i aria-hidden="true" { use href=(format!("#{name}")) {} } }
}
