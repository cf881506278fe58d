//! The pages as they are first loaded; from then on the parts that change are pushed.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Query, State};
use maud::Markup;
use simulator_access::Session;
use simulator_model::credentials::Role;
use simulator_model::domain::AuditEntry;

use super::Panel;
use super::keys::{self, Keys};
use super::live::Moment;
use super::login::Reader;
use super::users::{self, Page};
use super::view::{self, Scene, Tab};
use super::wanted::Wanted;

/// What one tab needs beside what all are shown is looked up within this time, or not at all.
const LOOKUP_MAX: Duration = Duration::from_millis(1_500);

/// What one tab is shown, beside and with what all are shown.
pub(super) struct Gathered {
    pub(super) moment: Arc<Moment>,
    pub(super) page: Page,
    /// Nothing if the store could not be listed.
    pub(super) keys: Option<Keys>,
    /// Nothing if the list could not be read.
    pub(super) audit: Option<Vec<AuditEntry>>,
}

impl Gathered {
    /// Looks up what the tab needs and its reader may see.
    pub(super) async fn of(panel: &Panel, tab: Tab, reader: &Session, wanted: &Wanted) -> Self {
        let moment = panel.live.current();
        let mut gathered = Self { page: Page::default(), keys: None, audit: None, moment };
        match tab {
            Tab::Live => {
                let page = tokio::time::timeout(LOOKUP_MAX, users::page(panel, &gathered.moment.survey, wanted)).await;
                gathered.page = page.unwrap_or(Page { failed: true, ..Page::default() });
            }
            Tab::Cache => {
                let keys = tokio::time::timeout(LOOKUP_MAX, keys::of(panel, &gathered.moment, wanted)).await;
                gathered.keys = keys.ok().flatten();
            }
            Tab::Audit if reader.may(Role::Admin) => {
                let audit = tokio::time::timeout(LOOKUP_MAX, panel.api.access.audit_list()).await;
                gathered.audit = audit.ok().and_then(Result::ok);
            }
            Tab::Audit | Tab::Faults => {}
        }
        gathered
    }
}

/// Everything as it happens.
pub(super) async fn home(
    State(panel): State<Arc<Panel>>,
    Reader(reader): Reader,
    Query(wanted): Query<Wanted>,
) -> Markup {
    page(&panel, Tab::Live, &reader, &wanted).await
}

/// Every key.
pub(super) async fn cache(
    State(panel): State<Arc<Panel>>,
    Reader(reader): Reader,
    Query(wanted): Query<Wanted>,
) -> Markup {
    page(&panel, Tab::Cache, &reader, &wanted).await
}

/// What can be broken on purpose.
pub(super) async fn faults(State(panel): State<Arc<Panel>>, Reader(reader): Reader) -> Markup {
    page(&panel, Tab::Faults, &reader, &Wanted::default()).await
}

/// Who did what.
pub(super) async fn audit(State(panel): State<Arc<Panel>>, Reader(reader): Reader) -> Markup {
    page(&panel, Tab::Audit, &reader, &Wanted::default()).await
}

async fn page(panel: &Panel, tab: Tab, reader: &Session, wanted: &Wanted) -> Markup {
    panel.live.fresh(panel).await;
    let gathered = Gathered::of(panel, tab, reader, wanted).await;
    view::whole(&Scene::of(panel, tab, reader, wanted, &gathered))
}
