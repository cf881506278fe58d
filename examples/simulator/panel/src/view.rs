//! Rendering. A page is a frame with parts; each part is rendered separately and pushed when it changes.

mod audit;
mod cache;
mod charts;
pub(super) mod compare;
mod connector;
mod context;
mod demo;
mod events;
mod explain;
mod faults;
mod frame;
mod freshness;
mod guide;
pub(super) mod icon;
pub(super) mod kept;
mod load;
pub(super) mod past;
mod pipeline;
mod plot;
pub(super) mod race;
mod servers;
mod sweep;
mod text;
mod tokens;
mod top;
mod users;
pub(super) mod write;

use maud::Markup;

pub(super) use self::context::PageContext;
use super::tab::Tab;

/// Renders a whole page.
pub(super) fn whole(context: &PageContext<'_>) -> Markup {
    frame::whole(context, &parts(context))
}

/// Renders a whole page of races around its content.
pub(super) fn whole_race(context: &PageContext<'_>, content: Markup) -> Markup {
    let mut parts = parts(context);
    parts.push(("race", content));
    frame::whole(context, &parts)
}

/// Renders a whole page of kept runs around its content.
pub(super) fn whole_runs(context: &PageContext<'_>, content: Markup) -> Markup {
    let mut parts = parts(context);
    parts.push(("runs", content));
    frame::whole(context, &parts)
}

/// Renders a page that says why there is no such run.
pub(super) fn without_run(context: &PageContext<'_>, content: Markup) -> Markup {
    let mut parts = parts(context);
    parts.push((frame::INSTEAD, content));
    frame::whole(context, &parts)
}

/// Renders the parts of a page, by name.
pub(super) fn parts(context: &PageContext<'_>) -> Vec<(&'static str, Markup)> {
    let mut parts = vec![
        ("banner", top::banner(context)),
        ("verdict", top::verdict(context)),
        ("mode", top::mode(context)),
        ("history", top::history(context)),
    ];
    match context.tab {
        Tab::Live => parts.extend([
            ("demo", demo::demo(context)),
            ("users", users::users(context)),
            ("pipeline", pipeline::pipeline(context)),
            ("load", load::load(context)),
            ("experiment", load::experiment(context)),
            ("events", events::events(context)),
            ("unmeasured", charts::unmeasured(context)),
        ]),
        Tab::Servers => parts.push(("servers", servers::servers(context))),
        Tab::Cache => parts.push(("cache", cache::cache(context))),
        // The rest of its pages is rendered by their handlers.
        Tab::Runs => parts.push(("sweep", sweep::sweep(context))),
        // The handler of the page renders it: it is not pushed.
        Tab::Race => {}
        Tab::Faults => parts.extend([("pipeline", pipeline::pipeline(context)), ("faults", faults::faults(context))]),
        Tab::Audit => parts.push(("audit", audit::audit(context))),
    }
    parts
}
