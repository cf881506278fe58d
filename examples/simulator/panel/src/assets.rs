//! The files that the pages load. All of them are embedded in this program.

use axum::Router;
use axum::http::header;
use axum::response::IntoResponse;
use axum::routing::get;

const STYLE: &str = "text/css; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";

/// Path, content type and content of each file.
const FILES: [(&str, &str, &str); 19] = [
    (
        "/panel.css",
        STYLE,
        concat!(
            include_str!("assets/base.css"),
            include_str!("assets/live.css"),
            include_str!("assets/charts.css"),
            include_str!("assets/guide.css"),
            include_str!("assets/pages.css"),
            include_str!("assets/race.css"),
            include_str!("assets/servers.css"),
            include_str!("assets/writes.css"),
            include_str!("assets/past.css"),
            include_str!("assets/runs.css"),
            include_str!("assets/narrow.css"),
        ),
    ),
    ("/panel.svg", "image/svg+xml", include_str!("assets/panel.svg")),
    ("/theme.js", SCRIPT, include_str!("assets/theme.js")),
    ("/panel.js", SCRIPT, include_str!("assets/panel.js")),
    ("/morph.js", SCRIPT, include_str!("assets/morph.js")),
    ("/stream.js", SCRIPT, include_str!("assets/stream.js")),
    ("/controls.js", SCRIPT, include_str!("assets/controls.js")),
    ("/users.js", SCRIPT, include_str!("assets/users.js")),
    ("/charts.js", SCRIPT, include_str!("assets/charts.js")),
    ("/chart_input.js", SCRIPT, include_str!("assets/chart_input.js")),
    ("/timeline.js", SCRIPT, include_str!("assets/timeline.js")),
    ("/guide.js", SCRIPT, include_str!("assets/guide.js")),
    ("/flow.js", SCRIPT, include_str!("assets/flow.js")),
    ("/race.js", SCRIPT, include_str!("assets/race.js")),
    ("/past.js", SCRIPT, include_str!("assets/past.js")),
    ("/writes.js", SCRIPT, include_str!("assets/writes.js")),
    ("/login.js", SCRIPT, include_str!("assets/login.js")),
    ("/uplot.js", SCRIPT, loadgen::uplot::SCRIPT),
    ("/uplot.css", STYLE, loadgen::uplot::STYLE),
];

pub(super) fn router() -> Router {
    FILES.iter().fold(Router::new(), |router, &(path, kind, text)| {
        router.route(path, get(move || std::future::ready(([(header::CONTENT_TYPE, kind)], text).into_response())))
    })
}
