//! The audit list, newest first. For the admin only.

use maud::{Markup, html};
use simulator_model::credentials::Role;
use simulator_model::domain::{ADDRESS_ENTRIES_MAX, ADDRESSES_MAX, HISTORY_MAX, REFUSED_MAX};

use super::context::PageContext;
use super::text::grouped;

pub(super) fn audit(context: &PageContext<'_>) -> Markup {
    html! {
        div.hd { h2 #h-audit { "Audit" } span.m.full { "Who did what, the newest first." } span.grow {}
            @if context.reader.may(Role::Admin) {
                a.btn href="/export" download="cachefront-simulator.json" { "Export everything" }
            } @else {
                button.btn type="button" disabled title="Needs the admin role" { "Export everything" }
            }
            button.btn type="button" data-ask="End all sessions?" data-text="All users have to log in again, including you." data-yes="End them"
                data-action="/sessions/end" data-body=""
                disabled[!context.reader.may(Role::Admin)] title=[(!context.reader.may(Role::Admin)).then_some("Needs the admin role")] { "End all sessions" } }
        @if !context.reader.may(Role::Admin) {
            div.empty data-empty="admin-only" { p { b { "Only the admin reads this list." } } p.m { "Log in as admin to see it." } }
        } @else if context.audit.is_none() {
            div.empty data-empty="unreadable" { p { b { "The list cannot be read now." } } p.m { "It is kept in the database: it appears again as soon as that responds." } }
        } @else if context.audit.is_some_and(<[_]>::is_empty) {
            div.empty { p { b { "Nothing was done yet." } } p.m { "Logins, switches, writes and faults appear here." } }
        } @else {
            table.audit {
                thead { tr { th scope="col" { "time" } th scope="col" { "who" } th scope="col" { "what" } th scope="col" { "outcome" } } }
                tbody {
                    @for entry in context.audit.unwrap_or_default() {
                        tr { td.mono { (entry.at) } td { (entry.who) } td title=(entry.what) { (entry.what) } td.fail[entry.result != "ok"] data-outcome=(outcome(&entry.result)) { (entry.result) @if entry.times > 1 { " " span.m { "(" (grouped(entry.times)) " times, the last one then)" } } } }
                    }
                }
            }
        }
        p.pad.m {
            "Kept are the last " (HISTORY_MAX) " actions and " (REFUSED_MAX) " refusals of each account and each kind of token, and the last "
            (ADDRESS_ENTRIES_MAX) " failed logins from each of " (ADDRESSES_MAX) " addresses. Refusals that repeat are one line."
        }
        (super::tokens::tokens(context))
        div.hd { h2 { "Roles" } }
        dl.roles {
            dt { "viewer" } dd { "sees everything but secrets, and reads through the cache" }
            dt { "operator" } dd { "also changes users, the mode, faults and the cache, and starts load" }
            dt { "admin" } dd { "also reads this list" }
        }
        p.pad.m { "Accounts carry their role's name. Set CACHEFRONT_UI_OPERATOR_PASSWORD or CACHEFRONT_UI_VIEWER_PASSWORD to open the other two." }
    }
}

/// The kind of an outcome: it stays the same when the text changes.
fn outcome(result: &str) -> &'static str {
    match result {
        "ok" => "ok",
        refused if refused.starts_with("refused") => "refused",
        _ => "failed",
    }
}
