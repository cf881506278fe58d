//! The pages as they are first loaded; from then on the parts that change are pushed.

use std::sync::Arc;

use axum::extract::{Query, State};
use maud::Markup;

use super::Panel;
use super::login::Reader;
use super::users::{self, Wanted};
use super::view::{self, Scene, Tab};

/// The page that shows everything as it happens.
pub(super) async fn home(
    State(panel): State<Arc<Panel>>,
    Reader(reader): Reader,
    Query(wanted): Query<Wanted>,
) -> Markup {
    let moment = panel.live.fresh(&panel).await;
    let page = users::page(&panel, &moment.survey, &wanted).await;
    view::whole(&Scene {
        panel: &panel,
        tab: Tab::Live,
        moment: &moment,
        page: &page,
        wanted: &wanted,
        reader: &reader,
    })
}
