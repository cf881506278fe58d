//! Handlers of the buttons. Each returns one line for people to read; changes of the page are pushed.

use std::sync::Arc;

use axum::extract::{Form, Path, State};
use axum::http::StatusCode;
use axum::response::Response;
use serde::Deserialize;
use simulator_model::domain::{CHOSEN_ID_MAX, DbError, Mode, UserInput};
use simulator_model::faults::{DELAY_MS_MAX, FaultState};

use super::login::CurrentUser;
use super::outcome::{done, noted, noted_of};
use super::panel::Panel;
use super::reply::{refused, refused_as};
use super::runs::COMPARING;
use super::tour::Scenario;
use super::tour::pace::Pace;
use super::tour::script;

fn failed(error: &DbError) -> Response {
    match error {
        DbError::EmailTaken => refused(StatusCode::CONFLICT, "This e-mail address is taken: choose another one."),
        DbError::IdTaken => refused(
            StatusCode::CONFLICT,
            "This id is taken: choose another one, or leave the field empty for the next one.",
        ),
        DbError::NoIdLeft => refused(
            StatusCode::INSUFFICIENT_STORAGE,
            "There is no id left for a new user: the next one would be above 2^53 − 1. Choose a free id.",
        ),
        DbError::VersionMismatch => refused(
            StatusCode::CONFLICT,
            "Another client changed it at the same moment: this change was not made. Try again.",
        ),
        DbError::Unavailable(_) | DbError::Failed(_) => {
            refused(StatusCode::SERVICE_UNAVAILABLE, "The database does not respond: nothing was changed. Try again.")
        }
    }
}

fn gone(id: u64) -> Response {
    refused(StatusCode::NOT_FOUND, format!("There is no user {id} any more."))
}

#[derive(Deserialize)]
pub(super) struct ModeForm {
    mode: Mode,
    version: u64,
}

/// Switches the mode, unless it has changed since the page was rendered.
pub(super) async fn mode(
    State(panel): State<Arc<Panel>>,
    CurrentUser(reader): CurrentUser,
    Form(form): Form<ModeForm>,
) -> Response {
    if panel.runs.is_comparing() {
        let refusal: Result<(), _> = Err(COMPARING);
        let _ = noted(&panel, &reader, format!("mode {}", form.mode.as_str()), refusal).await;
        return refused_as(StatusCode::CONFLICT, "comparing", COMPARING);
    }
    let outcome = panel.api.modes.set(form.mode, Some(&[form.version])).await;
    match noted(&panel, &reader, format!("mode {}", form.mode.as_str()), outcome).await {
        Ok(row) => {
            panel.api.pipeline.followed(row.mode).await;
            done(&panel, format!("Mode {} is in force (v{}).", words_of(row.mode), row.version))
        }
        Err(DbError::VersionMismatch) => {
            let now = panel.api.modes.refresh().await.unwrap_or_else(|_| panel.api.modes.current());
            let message = format!(
                "Another client changed the mode in the meantime: it is {}, now v{}. Nothing was switched.",
                words_of(now.mode),
                now.version
            );
            panel.live.nudge();
            refused(StatusCode::CONFLICT, message)
        }
        Err(error) => failed(&error),
    }
}

fn words_of(mode: Mode) -> &'static str {
    match mode {
        Mode::Ttl => "TTL",
        Mode::Cdc => "CDC",
    }
}

/// Returns a refusal if name or address is empty or longer than its column, `None` if both fit.
fn wrong(input: &UserInput) -> Option<Response> {
    let fits = [&input.name, &input.email].iter().all(|text| (1..=255).contains(&text.chars().count()));
    let words = "Name and e-mail address take 1 to 255 characters.";
    (!fits).then(|| refused(StatusCode::UNPROCESSABLE_ENTITY, words))
}

#[derive(Deserialize)]
pub(super) struct NewUserForm {
    /// Empty for the next one.
    #[serde(default)]
    id: String,
    #[serde(flatten)]
    input: UserInput,
}

/// Returns the id that was chosen, `None` if the field is empty, or why it cannot be an id.
fn chosen(id: &str) -> Result<Option<u64>, String> {
    match id.trim() {
        "" => Ok(None),
        digits => match digits.parse() {
            Ok(id) if (1..=CHOSEN_ID_MAX).contains(&id) => Ok(Some(id)),
            _ => Err(format!(
                "An id is a whole number from 1 to {CHOSEN_ID_MAX}. Leave the field empty for the next one."
            )),
        },
    }
}

pub(super) async fn create(
    State(panel): State<Arc<Panel>>,
    CurrentUser(reader): CurrentUser,
    Form(NewUserForm { id, input }): Form<NewUserForm>,
) -> Response {
    let id = match chosen(&id) {
        Ok(id) => id,
        Err(why) => return refused(StatusCode::UNPROCESSABLE_ENTITY, why),
    };
    if let Some(refused) = wrong(&input) {
        return refused;
    }
    let outcome = panel.api.database.create(id, &input).await;
    match noted(&panel, &reader, "user created".into(), outcome).await {
        Ok(written) => done(&panel, format!("User {} was created.", written.value.id)),
        Err(error) => failed(&error),
    }
}

/// Reads through the cache, as `GET /users/{id}` does.
pub(super) async fn read(State(panel): State<Arc<Panel>>, Path(id): Path<u64>) -> Response {
    match panel.api.writes.reading(id, panel.api.caches.users.get(&id).detailed()).await {
        Ok(hit) => {
            if hit.value.is_none() {
                panel.row_cache.miss(id);
            }
            let value = hit.value.map_or_else(|| "no such user".to_owned(), |user| user.name);
            done(&panel, format!("User {id}: {value} (from {})", words_of_tier(hit.tier.as_str())))
        }
        Err(_) => refused(
            StatusCode::SERVICE_UNAVAILABLE,
            "The read had to ask the database, which does not respond. Try again.",
        ),
    }
}

fn words_of_tier(tier: &str) -> &str {
    match tier {
        "local" => "L1, this process",
        "shared" => "the shared store",
        tier => tier,
    }
}

/// Maximum number of users read by one press.
const READ_AT_ONCE: u32 = 100;

/// Reads the first users, so that their rows are cached.
pub(super) async fn read_all(State(panel): State<Arc<Panel>>) -> Response {
    let Ok(listed) = panel.api.database.list(0, READ_AT_ONCE).await else {
        return refused(StatusCode::SERVICE_UNAVAILABLE, "The database does not respond. Try again.");
    };
    let users = &panel.api.caches.users;
    let reads = listed.iter().map(|user| panel.api.writes.reading(user.id, users.get(&user.id).detailed()));
    let read = futures_util::future::join_all(reads).await.into_iter().filter(Result::is_ok).count();
    done(&panel, format!("{read} users were read through the cache."))
}

/// Writes to the database and nowhere else, as `PUT /users/{id}` does.
pub(super) async fn write(
    State(panel): State<Arc<Panel>>,
    CurrentUser(reader): CurrentUser,
    Path(id): Path<u64>,
    Form(input): Form<UserInput>,
) -> Response {
    if let Some(refused) = wrong(&input) {
        return refused;
    }
    let outcome = panel.api.database.update(id, &input).await;
    match noted_of(&panel, &reader, format!("user {id} changed"), outcome).await {
        Ok(Some(_)) => done(&panel, format!("User {id} was changed in the database.")),
        Ok(None) => gone(id),
        Err(error) => failed(&error),
    }
}

pub(super) async fn delete(
    State(panel): State<Arc<Panel>>,
    CurrentUser(reader): CurrentUser,
    Path(id): Path<u64>,
) -> Response {
    let outcome = panel.api.database.delete(id).await;
    match noted_of(&panel, &reader, format!("user {id} deleted"), outcome).await {
        Ok(Some(_)) => {
            panel.row_cache.miss(id);
            done(&panel, format!("User {id} was deleted from the database."))
        }
        Ok(None) => gone(id),
        Err(error) => failed(&error),
    }
}

/// Starts a demo, or stops the running one.
pub(super) async fn demo(
    State(panel): State<Arc<Panel>>,
    CurrentUser(reader): CurrentUser,
    Path(scenario): Path<Scenario>,
) -> Response {
    if scenario != Scenario::Stop && panel.runs.is_comparing() {
        let refusal: Result<(), _> = Err(COMPARING);
        let _ = noted(&panel, &reader, format!("demo {}", scenario.as_str()), refusal).await;
        return refused_as(StatusCode::CONFLICT, "comparing", COMPARING);
    }
    let does = scenario != Scenario::Stop || panel.tour.view().running;
    let started = script::start(&panel, scenario);
    let outcome = if started { Ok(does.then_some(())) } else { Err("another one is running") };
    match noted_of(&panel, &reader, format!("demo {}", scenario.as_str()), outcome).await {
        Ok(_) => done(&panel, ""),
        Err(_) => refused(StatusCode::CONFLICT, "A demo is running: wait for its end, or stop it."),
    }
}

#[derive(Deserialize)]
pub(super) struct PaceForm {
    pace: Pace,
}

/// Sets the pace of the demos.
pub(super) async fn pace(
    State(panel): State<Arc<Panel>>,
    CurrentUser(reader): CurrentUser,
    Form(PaceForm { pace }): Form<PaceForm>,
) -> Response {
    panel.tour.set_pace(pace);
    let outcome: Result<(), &str> = Ok(());
    let _ = noted(&panel, &reader, format!("demo pace {pace:?}").to_lowercase(), outcome).await;
    done(&panel, "")
}

/// Takes the next step of the demo.
pub(super) async fn next_step(State(panel): State<Arc<Panel>>) -> Response {
    match panel.tour.next() {
        true => done(&panel, ""),
        false => refused(StatusCode::CONFLICT, "No demo waits for its next step."),
    }
}

#[derive(Deserialize)]
pub(super) struct FaultForm {
    /// Which switch.
    fault: String,
    /// `true`, `false`, a number of ms, or the name of an app server.
    value: String,
}

/// Sets one switch and leaves the others as they are.
pub(super) async fn fault(
    State(panel): State<Arc<Panel>>,
    CurrentUser(reader): CurrentUser,
    Form(form): Form<FaultForm>,
) -> Response {
    let faults = &panel.api.faults;
    if switched(faults.current(), &form).is_none() {
        return refused(StatusCode::UNPROCESSABLE_ENTITY, format!("A delay is a number of ms up to {DELAY_MS_MAX}."));
    }
    if let ("bus_cut", Ok(name)) = (form.fault.as_str(), form.value.parse())
        && panel.api.servers.get(name).is_none()
    {
        return refused(StatusCode::UNPROCESSABLE_ENTITY, format!("There is no server {} here.", form.value));
    }
    // The form was checked above; the state that it applies to is only known at the time of the write.
    let outcome = faults.change(|state| switched(state, &form).unwrap_or(state)).await;
    match noted(&panel, &reader, format!("fault {} {}", form.fault, form.value), outcome).await {
        Ok(state) => {
            let active = state.active();
            done(
                &panel,
                if active.is_empty() { "No fault is on.".into() } else { format!("On: {}.", active.join(", ")) },
            )
        }
        Err(error) => failed(&error),
    }
}

/// Returns the state with one switch changed, `None` if there is no such switch or the value is invalid.
fn switched(mut state: FaultState, form: &FaultForm) -> Option<FaultState> {
    let on = || form.value.parse::<bool>().ok();
    let millis = || form.value.parse::<u64>().ok().filter(|millis| *millis <= DELAY_MS_MAX);
    match form.fault.as_str() {
        "pause_consumer" => state.pause_consumer = on()?,
        "freeze_stream" => state.freeze_stream = on()?,
        "drop_events" => state.drop_events = on()?,
        "store_cut" => state.store_cut = on()?,
        "store_delay_ms" => state.store_delay_ms = millis()?,
        "database_delay_ms" => state.database_delay_ms = millis()?,
        "replica_lag_ms" => state.replica_lag_ms = millis()?,
        "bus_cut" if form.value == "false" => state.bus_cut = None,
        "bus_cut" => state.bus_cut = Some(form.value.parse().ok()?),
        "all" => state = FaultState::default(),
        _ => return None,
    }
    Some(state)
}

/// Empties the store, like a server that restarts without its data.
pub(super) async fn flush(State(panel): State<Arc<Panel>>, CurrentUser(reader): CurrentUser) -> Response {
    let outcome = panel.api.store_admin.empty().await;
    match noted(&panel, &reader, "cache emptied".into(), outcome).await {
        Ok(_) => {
            let now = panel.api.pipeline.clock.now();
            panel.live.gauges.mark(now, "store emptied".into());
            panel.live.chronicle.pressed(now, "store emptied");
            done(&panel, "The store is empty: the next reads load.")
        }
        Err(_) => refused(StatusCode::SERVICE_UNAVAILABLE, "The store does not respond: nothing was removed."),
    }
}

/// Pauses, resumes or restarts Debezium's connector.
pub(super) async fn connector(
    State(panel): State<Arc<Panel>>,
    CurrentUser(reader): CurrentUser,
    Path(press): Path<String>,
) -> Response {
    let Some(connector) = &panel.api.connector else {
        return refused(StatusCode::NOT_FOUND, "No connector carries the changes: the source is not Kafka.");
    };
    let outcome = match press.as_str() {
        "pause" => connector.pause().await,
        "resume" => connector.resume().await,
        "restart" => connector.restart().await,
        _ => return refused(StatusCode::NOT_FOUND, "A connector is paused, resumed or restarted."),
    };
    match noted(&panel, &reader, format!("connector {press}"), outcome).await {
        Ok(()) => {
            panel.live.chronicle.pressed(panel.api.pipeline.clock.now(), format!("connector: {press}"));
            let words = match press.as_str() {
                "pause" => "The connector is paused: changes wait in the database's log.",
                "resume" => "The connector goes on where it stood.",
                _ => "The connector and its tasks are started again.",
            };
            done(&panel, words)
        }
        Err(error) => refused(StatusCode::SERVICE_UNAVAILABLE, error.summary()),
    }
}

/// Restarts one task of the connector.
pub(super) async fn connector_task(
    State(panel): State<Arc<Panel>>,
    CurrentUser(reader): CurrentUser,
    Path(task): Path<u32>,
) -> Response {
    let Some(connector) = &panel.api.connector else {
        return refused(StatusCode::NOT_FOUND, "No connector carries the changes: the source is not Kafka.");
    };
    let outcome = connector.restart_task(task).await;
    match noted(&panel, &reader, format!("connector task {task} restart"), outcome).await {
        Ok(()) => {
            panel.live.chronicle.pressed(panel.api.pipeline.clock.now(), format!("connector: restart of task {task}"));
            done(&panel, format!("Task {task} is started again."))
        }
        Err(error) => refused(StatusCode::SERVICE_UNAVAILABLE, error.summary()),
    }
}

/// Ends all sessions, including the one that requests it.
pub(super) async fn end_sessions(State(panel): State<Arc<Panel>>, CurrentUser(reader): CurrentUser) -> Response {
    let outcome = panel.api.access.logout_all().await;
    match noted(&panel, &reader, "all sessions ended".into(), outcome).await {
        Ok(()) => done(&panel, ""),
        Err(error) => failed(&error),
    }
}

/// Removes a user's entries from all tiers of all processes.
pub(super) async fn evict(
    State(panel): State<Arc<Panel>>,
    CurrentUser(reader): CurrentUser,
    Path(id): Path<u64>,
) -> Response {
    let outcome = panel.api.inspector.remove(id).await;
    match noted(&panel, &reader, format!("cache of user {id} removed"), outcome).await {
        Ok(()) => done(&panel, format!("The entries of user {id} are gone from all tiers.")),
        Err(_) => refused(StatusCode::SERVICE_UNAVAILABLE, "The store does not respond: nothing was removed."),
    }
}
