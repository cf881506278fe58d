//! Rendering. A page is a frame with parts; each part is rendered separately and pushed when it changes.

mod audit;
mod cache;
mod connector;
mod demo;
mod events;
mod faults;
mod frame;
pub(super) mod icon;
mod load;
mod pipeline;
mod text;
mod tokens;
mod top;
mod users;

use maud::Markup;
use serde::Deserialize;

use super::Panel;
use super::actions::COMPARING;
use super::keys::Keys;
use super::live::Moment;
use super::pages::PageData;
use super::query::QueryParameters;
use super::users::Page;
pub(super) use frame::whole;
use simulator_access::Session;
use simulator_model::credentials::Role;
use simulator_model::domain::AuditEntry;

/// The pages of the panel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Tab {
    #[default]
    Live,
    Cache,
    Faults,
    Audit,
}

impl Tab {
    pub(super) const ALL: [(Self, &'static str, &'static str); 4] = [
        (Self::Live, "/", "Live"),
        (Self::Cache, "/cache", "Cache browser"),
        (Self::Faults, "/faults", "Faults"),
        (Self::Audit, "/audit", "Audit"),
    ];

    fn as_str(self) -> &'static str {
        match self {
            Self::Live => "live",
            Self::Cache => "cache",
            Self::Faults => "faults",
            Self::Audit => "audit",
        }
    }
}

/// What to render, and for which user.
pub(super) struct PageContext<'a> {
    pub(super) panel: &'a Panel,
    pub(super) tab: Tab,
    pub(super) moment: &'a Moment,
    pub(super) page: &'a Page,
    pub(super) wanted: &'a QueryParameters,
    /// For the cache browser; `None` if the store cannot be listed.
    pub(super) keys: Option<&'a Keys>,
    /// For the audit page; `None` if the list cannot be read.
    pub(super) audit: Option<&'a [AuditEntry]>,
    /// The session of the user who views the page.
    pub(super) reader: &'a Session,
}

impl<'a> PageContext<'a> {
    pub(super) fn of(
        panel: &'a Panel,
        tab: Tab,
        reader: &'a Session,
        wanted: &'a QueryParameters,
        gathered: &'a PageData,
    ) -> Self {
        let PageData { moment, page, keys, audit } = gathered;
        Self { panel, tab, moment, page, wanted, keys: keys.as_ref(), audit: audit.as_deref(), reader }
    }

    /// Returns true if the user may change things.
    fn operates(&self) -> bool {
        !self.panel.read_only && self.reader.may(Role::Operator)
    }

    /// Returns why controls are disabled for this user, `None` if they are not.
    fn reason(&self) -> Option<&'static str> {
        match self.panel.read_only {
            true => Some("The panel is read-only (CACHEFRONT_UI_READ_ONLY)"),
            false => (!self.operates()).then_some("Needs the operator role"),
        }
    }

    /// Returns why the mode cannot be switched now, `None` if it can.
    fn mode_reason(&self) -> Option<&'static str> {
        self.reason().or_else(|| self.panel.runs.is_comparing().then_some(COMPARING))
    }
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
        ]),
        Tab::Cache => parts.push(("cache", cache::cache(context))),
        Tab::Faults => parts.extend([("pipeline", pipeline::pipeline(context)), ("faults", faults::faults(context))]),
        Tab::Audit => parts.push(("audit", audit::audit(context))),
    }
    parts
}
