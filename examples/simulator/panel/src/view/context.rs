//! What to render, and for which user.

use simulator_access::Session;
use simulator_model::credentials::Role;
use simulator_model::domain::AuditEntry;

use crate::keys::Keys;
use crate::moment::Moment;
use crate::page_data::PageData;
use crate::panel::Panel;
use crate::query::QueryParameters;
use crate::runs::COMPARING;
use crate::servers::SeenServers;
use crate::tab::Tab;
use crate::users::Page;

/// What to render, and for which user.
pub(crate) struct PageContext<'a> {
    pub(crate) panel: &'a Panel,
    pub(crate) tab: Tab,
    pub(crate) moment: &'a Moment,
    pub(crate) page: &'a Page,
    pub(crate) wanted: &'a QueryParameters,
    /// For the cache browser; `None` if the store cannot be listed.
    pub(crate) keys: Option<&'a Keys>,
    /// For the audit page; `None` if the list cannot be read.
    pub(crate) audit: Option<&'a [AuditEntry]>,
    /// For the page of the app servers, as they were last known; `None` if they never were.
    pub(crate) servers: Option<&'a SeenServers>,
    /// The session of the user who views the page.
    pub(crate) reader: &'a Session,
}

impl<'a> PageContext<'a> {
    pub(crate) fn of(
        panel: &'a Panel,
        tab: Tab,
        reader: &'a Session,
        wanted: &'a QueryParameters,
        gathered: &'a PageData,
    ) -> Self {
        let PageData { moment, page, keys, audit, servers } = gathered;
        let (keys, audit, servers) = (keys.as_ref(), audit.as_deref(), servers.as_ref());
        Self { panel, tab, moment, page, wanted, keys, audit, servers, reader }
    }

    /// Returns true if the user may change things.
    pub(super) fn operates(&self) -> bool {
        !self.panel.read_only && self.reader.may(Role::Operator)
    }

    /// Returns why controls are disabled for this user, `None` if they are not.
    pub(super) fn reason(&self) -> Option<&'static str> {
        match self.panel.read_only {
            true => Some("The panel is read-only (CACHEFRONT_UI_READ_ONLY)"),
            false => (!self.operates()).then_some("Needs the operator role"),
        }
    }

    /// Returns why the mode cannot be switched now, `None` if it can.
    pub(super) fn mode_reason(&self) -> Option<&'static str> {
        self.reason().or_else(|| self.panel.runs.is_comparing().then_some(COMPARING))
    }
}
