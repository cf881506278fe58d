//! The frame around the parts, and the dialogs.

use maud::{DOCTYPE, Markup, html};
use simulator_model::domain::Status;

use super::charts;
use super::context::PageContext;
use super::explain::explain;
use super::guide;
use super::icon::{icon, sprite};
use crate::tab::Tab;

/// The part that says why a page has nothing to show: nothing else is of interest then.
pub(crate) const INSTEAD: &str = "instead";

/// Renders a whole page.
pub(crate) fn whole(context: &PageContext<'_>, parts: &[(&'static str, Markup)]) -> Markup {
    let part = |name: &str| parts.iter().find(|(part, _)| *part == name).map(|(_, markup)| markup);
    html! {
        (DOCTYPE)
        html lang="en" {
            (head(context))
            body data-tab=(context.tab.as_str()) data-at=(context.moment.at.as_millis()) data-age=(context.moment.age().as_millis()) {
                (sprite())
                a.skip href="#content" { "Skip to the content" }
                (top(context))
                main #content tabindex="-1" {
                    div #lost.banner.lost-banner hidden { span role="alert" data-words {} span aria-hidden="true" data-ago {} }
                    div data-part="banner" role="alert" { @if let Some(markup) = part("banner") { (markup) } }
                    // A race has a world of its own: how the caches of the simulator are is not of interest there.
                    @if context.tab != Tab::Race && part(INSTEAD).is_none() { (strip(&part)) }
                    p #said.vh aria-live="polite" data-said {}
                    @if let Some(reason) = context.reason() { p #why-off.vh data-read-only[context.panel.read_only] { (reason) } }
                    @match context.tab {
                        Tab::Live => (live(context, &part)),
                        Tab::Cache => (browser(&part)),
                        Tab::Servers => (super::servers::page(context, part("servers"))),
                        Tab::Runs => @if let Some(markup) = part(INSTEAD).or_else(|| part("runs")) { (markup) },
                        Tab::Race => @if let Some(markup) = part("race") { (markup) },
                        Tab::Faults => (faults(&part)),
                        Tab::Audit => section.card aria-labelledby="h-audit" { (explained("audit", &part)) },
                    }
                }
                (dialogs())
                @if context.tab == Tab::Live { (guide::guide()) }
                dialog #history aria-labelledby="history-title" {
                    h2 #history-title { "Mode history" }
                    div data-part="history" { @if let Some(markup) = part("history") { (markup) } }
                    div.row { span.grow {} button.btn.lg type="button" data-close { "Close" } }
                }
                div #toasts role="status" aria-live="polite" {}
                noscript { p.banner { "The panel pushes what it shows: it needs JavaScript, from this program only." } }
            }
        }
    }
}

fn strip<'a>(part: &impl Fn(&str) -> Option<&'a Markup>) -> Markup {
    html! {
        div.strip {
            section.seen aria-label="Verdict" { (explained("verdict", part)) }
            section aria-label="Mode" { (explained("mode", part)) }
        }
    }
}

/// Renders a part and its explanation, which never changes and is therefore not in the part that is pushed.
fn explained<'a>(name: &str, part: &impl Fn(&str) -> Option<&'a Markup>) -> Markup {
    html! {
        div data-part=(name) { @if let Some(markup) = part(name) { (markup) } }
        (explain(name))
    }
}

fn head(context: &PageContext<'_>) -> Markup {
    html! {
        head {
            meta charset="utf-8";
            meta name="viewport" content="width=device-width,initial-scale=1";
            meta name="color-scheme" content="light dark";
            meta name="csrf" content=(context.reader.csrf());
            title { (context.moment.verdict.words) " · cachefront" }
            link rel="icon" href="/panel.svg";
            link rel="stylesheet" href="/uplot.css";
            link rel="stylesheet" href="/panel.css";
            script src="/theme.js" {}
            script src="/uplot.js" defer {}
            script src="/panel.js" type="module" {}
        }
    }
}

fn top(context: &PageContext<'_>) -> Markup {
    html! {
        header.top {
            div.brand { (icon("logo")) "cachefront" }
            nav.tabs aria-label="Pages" {
                @for (tab, path, name) in Tab::ALL.into_iter().filter(|(tab, ..)| *tab != Tab::Servers || context.panel.has_servers()) {
                    a href=(path) aria-current=[(tab == context.tab).then_some("page")] { (name) }
                }
            }
            div.who {
                span #connection.row data-state="live" { (icon("ok")) span { "live" } }
                button.btn.q #explain type="button" aria-pressed="true" title="Show or hide what each card says" { "Explain" }
                button.btn.q #theme type="button" aria-label="Switch between dark and light" { (icon("sun")) }
                span.row.m { (icon("user")) span.name { (context.reader.name) } }
                button.btn.q type="button" data-post="/logout" data-then="/login" { "Log out" }
            }
        }
    }
}

fn live<'a>(context: &PageContext<'_>, part: &impl Fn(&str) -> Option<&'a Markup>) -> Markup {
    let of = |name: &str| html! { @if let Some(markup) = part(name) { (markup) } };
    html! {
        (super::past::slider())
        div.live data-live {
            div.wide data-column="wide" {
                section.card.pl data-place="3" aria-labelledby="h-pipeline" { (explained("pipeline", part)) }
            }
            div.cols {
                div.col data-column="main" {
                    (charts::charts(part("unmeasured")))
                    section.card.users data-place="2" aria-labelledby="h-users" #users tabindex="-1" {
                        div.hd {
                            h2 #h-users { "Users" }
                            input.search type="search" placeholder="Search id, name, address" aria-label="Search users" data-search;
                            span.grow {}
                            button.btn.q type="button" data-only aria-pressed="false" { "Only stale" }
                            button.btn.q.opt type="button" data-post="/users/read" { "Read all" }
                            button.btn type="button" data-user="new" disabled[!context.operates()] title=[context.reason()] { "New user" }
                        }
                        (explain("users"))
                        div data-part="users" { (of("users")) }
                    }
                    section.card data-place="6" aria-labelledby="h-ab" { (explained("experiment", part)) }
                }
                div.col.side data-column="side" {
                    section.card.demo data-place="1" aria-labelledby="h-demo" { (explained("demo", part)) (guide::start()) }
                    section.card data-place="5" aria-labelledby="h-load" { (explained("load", part)) }
                    section.card.events data-place="7" aria-labelledby="h-events" {
                        div.hd { h2 #h-events { "Events" } span.m.s { "times in UTC" } span.grow {} button.btn.q type="button" data-hold aria-pressed="false" { "Pause" } }
                        (explain("events"))
                        div data-part="events" { (of("events")) }
                    }
                }
            }
        }
    }
}

fn browser<'a>(part: &impl Fn(&str) -> Option<&'a Markup>) -> Markup {
    html! {
        section.card.users #users aria-labelledby="h-cache" {
            div.hd {
                h2 #h-cache { "Cache browser" }
                input.search type="search" placeholder="Search key, id, name" aria-label="Search keys" data-search;
                span.m.full { "Looking never fills, leases or touches." }
                span.grow {}
                button.btn.q type="button" data-only aria-pressed="false" { "Only stale" }
            }
            (explain("cache"))
            div data-part="cache" { @if let Some(markup) = part("cache") { (markup) } }
        }
    }
}

fn faults<'a>(part: &impl Fn(&str) -> Option<&'a Markup>) -> Markup {
    html! {
        div.live {
            section.card.pl aria-labelledby="h-pipeline" { (explained("pipeline", part)) }
            section.card aria-labelledby="h-faults" { (explained("faults", part)) }
        }
    }
}

fn dialogs() -> Markup {
    html! {
        dialog #ask aria-labelledby="ask-title" {
            form method="dialog" {
                h2 #ask-title {}
                p #ask-text {}
                p #ask-note.m.s {}
                p.error role="alert" hidden {}
                div.row { span.grow {} button.btn.lg type="submit" value="no" { "Cancel" } button.btn.lg.pri #ask-yes type="button" {} }
            }
        }
        dialog #user-form aria-labelledby="user-title" {
            form method="dialog" {
                h2 #user-title { "New user" }
                p.m.s #user-text {}
                label.f data-new { span { "Id (empty for the next one)" } input name="id" inputmode="numeric" pattern="[0-9]*" maxlength="16" autocomplete="off"; }
                label.f { span { "Name" } input name="name" maxlength="255" required autocomplete="off"; }
                label.f { span { "E-mail" } input name="email" maxlength="255" required autocomplete="off"; }
                label.f { span { "Status" }
                    select name="status" {
                        @for status in Status::ALL { option value=(status.as_str()) selected[status == Status::default()] { (status.as_str()) } }
                    }
                }
                p.error role="alert" hidden {}
                div.row { span.grow {} button.btn.lg type="button" data-cancel { "Cancel" } button.btn.lg.pri type="submit" value="yes" { "Save" } }
            }
        }
    }
}
