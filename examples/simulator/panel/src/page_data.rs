//! The data of one page.

use std::sync::Arc;
use std::time::Duration;

use simulator_access::Session;
use simulator_model::credentials::Role;
use simulator_model::domain::AuditEntry;

use super::keys::{self, Keys};
use super::moment::Moment;
use super::panel::Panel;
use super::query::QueryParameters;
use super::servers::{self, SeenServers};
use super::tab::Tab;
use super::users::{self, Page};

/// Time limit of the lookup of the data that only one tab needs.
const LOOKUP_MAX: Duration = Duration::from_millis(1_500);

/// The same for the app servers. What they were known to have before is shown then, so it is shorter.
const SERVERS_MAX: Duration = Duration::from_millis(600);

/// The data of a page: the snapshot that all tabs share, and what only this tab needs.
pub(super) struct PageData {
    pub(super) moment: Arc<Moment>,
    pub(super) page: Page,
    /// `None` if the store could not be listed, or if the tab does not show keys.
    pub(super) keys: Option<Keys>,
    /// `None` if the list could not be read, or if the tab does not show it.
    pub(super) audit: Option<Vec<AuditEntry>>,
    /// As they were last known; `None` if they never were, or if the tab does not show them.
    pub(super) servers: Option<SeenServers>,
}

impl PageData {
    /// Looks up what the tab needs, as far as its user may see it.
    pub(super) async fn of(panel: &Panel, tab: Tab, reader: &Session, wanted: &QueryParameters) -> Self {
        let moment = panel.live.current();
        let mut gathered = Self { page: Page::default(), keys: None, audit: None, servers: None, moment };
        match tab {
            Tab::Live => {
                let page = tokio::time::timeout(LOOKUP_MAX, users::page(panel, &gathered.moment.survey, wanted)).await;
                gathered.page = page.unwrap_or(Page { failed: true, ..Page::default() });
            }
            Tab::Cache => {
                let keys = tokio::time::timeout(LOOKUP_MAX, keys::of(panel, &gathered.moment, wanted)).await;
                gathered.keys = keys.ok().flatten();
            }
            Tab::Servers if panel.has_servers() => {
                let user = servers::observed(&gathered.moment, wanted);
                gathered.servers =
                    panel.servers_seen.within(SERVERS_MAX, &panel.api.servers, &panel.database, user).await;
            }
            Tab::Audit if reader.may(Role::Admin) => {
                let audit = tokio::time::timeout(LOOKUP_MAX, panel.api.access.audit_list()).await;
                gathered.audit = audit.ok().and_then(Result::ok);
            }
            Tab::Audit | Tab::Faults | Tab::Race | Tab::Runs | Tab::Servers => {}
        }
        gathered
    }
}
