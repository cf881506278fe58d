//! What people see. A page is a frame with parts; each part is rendered alone, and pushed when it changes.

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
use super::pages::Gathered;
use super::users::Page;
use super::wanted::Wanted;
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

/// What is to be rendered, and for whom.
pub(super) struct Scene<'a> {
    pub(super) panel: &'a Panel,
    pub(super) tab: Tab,
    pub(super) moment: &'a Moment,
    pub(super) page: &'a Page,
    pub(super) wanted: &'a Wanted,
    /// For the cache browser; nothing if the store cannot be listed.
    pub(super) keys: Option<&'a Keys>,
    /// For the audit page; nothing if the list cannot be read.
    pub(super) audit: Option<&'a [AuditEntry]>,
    /// Whoever looks on.
    pub(super) reader: &'a Session,
}

impl<'a> Scene<'a> {
    pub(super) fn of(
        panel: &'a Panel,
        tab: Tab,
        reader: &'a Session,
        wanted: &'a Wanted,
        gathered: &'a Gathered,
    ) -> Self {
        let Gathered { moment, page, keys, audit } = gathered;
        Self { panel, tab, moment, page, wanted, keys: keys.as_ref(), audit: audit.as_deref(), reader }
    }

    /// True if the reader may change things.
    fn operates(&self) -> bool {
        !self.panel.read_only && self.reader.may(Role::Operator)
    }

    /// Why a control is off for this reader.
    fn reason(&self) -> Option<&'static str> {
        match self.panel.read_only {
            true => Some("The panel is read-only (CACHEFRONT_UI_READ_ONLY)"),
            false => (!self.operates()).then_some("Needs the operator role"),
        }
    }

    /// Why the mode cannot be switched now; nothing if it can.
    fn mode_reason(&self) -> Option<&'static str> {
        self.reason().or_else(|| self.panel.runs.is_comparing().then_some(COMPARING))
    }
}

/// The parts of a page, by name.
pub(super) fn parts(scene: &Scene<'_>) -> Vec<(&'static str, Markup)> {
    let mut parts = vec![
        ("banner", top::banner(scene)),
        ("verdict", top::verdict(scene)),
        ("mode", top::mode(scene)),
        ("history", top::history(scene)),
    ];
    match scene.tab {
        Tab::Live => parts.extend([
            ("demo", demo::demo(scene)),
            ("users", users::users(scene)),
            ("pipeline", pipeline::pipeline(scene)),
            ("load", load::load(scene)),
            ("experiment", load::experiment(scene)),
            ("events", events::events(scene)),
        ]),
        Tab::Cache => parts.push(("cache", cache::cache(scene))),
        Tab::Faults => parts.extend([("pipeline", pipeline::pipeline(scene)), ("faults", faults::faults(scene))]),
        Tab::Audit => parts.push(("audit", audit::audit(scene))),
    }
    parts
}
