//! The API's tokens, for the admin: their number and what each may do, but never their values.

use maud::{Markup, html};
use simulator_model::credentials::Role;

use super::context::PageContext;

pub(super) fn tokens(context: &PageContext<'_>) -> Markup {
    if !context.reader.may(Role::Admin) {
        return html! {};
    }
    let roles = context.panel.api.access.tokens.roles();
    html! {
        div.hd { h2 { "API tokens" } span.m.full { "From CACHEFRONT_API_TOKENS as this process was given it, in its order. They are shown nowhere." } }
        @if roles.is_empty() {
            p.pad.m data-tokens="none" { "None: anyone who can reach the API may use it. It listens on this machine only, unless --insecure-open-api was said." }
        } @else {
            dl.roles data-tokens {
                @for (number, role) in roles.iter().enumerate() {
                    dt { "token " (number + 1) } dd { (role) }
                }
            }
            p.pad.m { "In the audit list a token carries its role's name. To take one back, change the setting and restart the API." }
        }
    }
}
