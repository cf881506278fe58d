//! The pages of the races: each session plays in a world of its own, which its requests move.

use std::sync::Arc;

use axum::extract::{Path, Query, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use maud::Markup;
use serde::{Deserialize, Deserializer};
use simulator_race::{Side, find};

use super::login::CurrentUser;
use super::pages::race_page;
use super::panel::Panel;
use super::view::race;

/// The query parameters of a scene. What cannot be parsed counts as absent, so that a mistyped URL shows the beginning.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
pub(super) struct Asked {
    #[serde(default, deserialize_with = "side")]
    side: Side,
    /// Number of steps that are played.
    #[serde(default, deserialize_with = "number")]
    step: usize,
    /// `1`: the rest is played by itself.
    #[serde(default, deserialize_with = "number")]
    play: usize,
}

fn number<'de, D: Deserializer<'de>>(text: D) -> Result<usize, D::Error> {
    Ok(String::deserialize(text)?.trim().parse().unwrap_or_default())
}

fn side<'de, D: Deserializer<'de>>(text: D) -> Result<Side, D::Error> {
    let text = String::deserialize(text)?;
    Ok(Side::ALL.into_iter().find(|side| side.as_str() == text).unwrap_or_default())
}

/// The list of scenes.
pub(super) async fn index(State(panel): State<Arc<Panel>>, CurrentUser(reader): CurrentUser) -> Markup {
    race_page(&panel, &reader, race::index()).await
}

/// A scene, played up to a step. It changes nothing but the world of this session, so that viewers may play too.
pub(super) async fn scene(
    State(panel): State<Arc<Panel>>,
    CurrentUser(reader): CurrentUser,
    Path(path): Path<String>,
    Query(asked): Query<Asked>,
) -> Response {
    let Some(scene) = find(&path) else {
        let page = race_page(&panel, &reader, race::unknown()).await;
        return (StatusCode::NOT_FOUND, page).into_response();
    };
    match panel.races.show(reader.csrf(), scene, asked.side, asked.step).await {
        Ok(view) => race_page(&panel, &reader, race::scene(&view, asked.play == 1)).await.into_response(),
        Err(error) => {
            tracing::warn!(error = &error as &dyn std::error::Error, scene = scene.path, "a race could not be played");
            let page = race_page(&panel, &reader, race::failed(scene, asked.side, asked.step, &error)).await;
            (StatusCode::SERVICE_UNAVAILABLE, [(header::RETRY_AFTER, "1")], page).into_response()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_names_side_and_step_and_nonsense_is_the_beginning() {
        let of = |address: &str| {
            let address = address.parse().expect("an address");
            Query::<Asked>::try_from_uri(&address).expect("anything can be asked").0
        };
        let asked = of("/race/overtaken?side=cachefront&step=3&play=1");
        assert_eq!(asked, Asked { side: Side::Cachefront, step: 3, play: 1 });
        assert_eq!(of("/race/overtaken?side=other&step=-1&play=yes"), Asked::default());
    }
}
