//! What the demos do: the same calls as the API's handlers, timed.

use std::sync::Arc;
use std::time::{Duration, Instant};

use simulator_model::domain::{DbError, Mode, User, UserInput};
use simulator_model::inspector::EntryState;

use super::pauses::NotRequested;
use super::{Progress, Scenario, TourView};
use crate::panel::Panel;

/// E-mail address of the user that the demos read and change. They create it if it does not exist.
const ADDRESS: &str = "ada@demo.example";
const NAMES: [&str; 2] = ["Ada Lovelace", "Ada King"];

/// Interval between two checks whether a step is complete.
const POLL: Duration = Duration::from_millis(2);
/// The same while waiting for an entry to expire: short enough for a countdown.
const COUNTDOWN_POLL: Duration = Duration::from_millis(50);

/// Time limit of a step that should take milliseconds.
const PROMPT_MAX: Duration = Duration::from_secs(10);

/// Starts a demo, or stops the running one. Returns false if a demo is already running.
pub(crate) fn start(panel: &Arc<Panel>, scenario: Scenario) -> bool {
    let Ok(mut task) = panel.tour.task.lock() else { return false };
    if scenario == Scenario::Stop {
        if let Some(task) = task.take() {
            task.abort();
        }
        panel.tour.change(|view| {
            view.running = false;
            view.left = None;
            end(view, "stopped".into());
        });
        return true;
    }
    if panel.tour.view.borrow().running {
        return false;
    }
    let pace = panel.tour.view.borrow().pace;
    panel.tour.view.send_replace(TourView { running: true, pace, ..TourView::of(scenario) });
    *task = Some(tokio::spawn(run(Arc::clone(panel), scenario)).abort_handle());
    true
}

/// Why a demo ended early, for people to read.
struct Failure(String);

impl From<NotRequested> for Failure {
    fn from(_: NotRequested) -> Self {
        Self("the next step was not requested for ten minutes".into())
    }
}

impl From<DbError> for Failure {
    fn from(_: DbError) -> Self {
        Self("the database does not respond: is it up?".into())
    }
}

impl From<cachefront::Error> for Failure {
    fn from(_: cachefront::Error) -> Self {
        Self("the read failed: the database had to be asked and did not respond".into())
    }
}

/// Runs a demo to its end.
pub(crate) async fn run(panel: Arc<Panel>, scenario: Scenario) {
    let demo = Demo { panel: &panel };
    let outcome = match scenario {
        Scenario::Ttl => demo.ttl().await,
        Scenario::Cdc | Scenario::Stop => demo.cdc().await,
    };
    panel.tour.change(|view| {
        view.running = false;
        view.left = None;
        if let Err(Failure(cause)) = outcome {
            end(view, cause);
        }
    });
}

/// Marks the current step, or the one before which the demo pauses, as failed.
fn end(view: &mut TourView, cause: String) {
    let now = view.steps.iter().position(|step| step.progress == Progress::Now);
    let next = view.steps.iter().position(|step| step.progress == Progress::Waiting);
    view.waits = None;
    if let Some(step) = now.or(next).and_then(|at| view.steps.get_mut(at)) {
        step.progress = Progress::Failed;
        step.note = cause;
    }
}

struct Demo<'a> {
    panel: &'a Panel,
}

impl Demo<'_> {
    async fn ttl(&self) -> Result<(), Failure> {
        let user = self.prepare(Mode::Ttl).await?;
        let renamed = self.rename(&user).await?;
        self.begin(3);
        let changed = Instant::now();
        let read = self.read(user.id).await?;
        if read.as_ref().is_none_or(|read| read.name == renamed) {
            return Err(Failure("the read was fresh: is the mode really TTL?".into()));
        }
        self.until_expired(&user, changed).await?;
        self.panel.tour.pause(4).await?;
        self.begin(4);
        let took = Instant::now();
        self.read_until_fresh(&user, &renamed).await?;
        self.done(4, measured(took.elapsed()));
        Ok(())
    }

    async fn cdc(&self) -> Result<(), Failure> {
        let user = self.prepare(Mode::Cdc).await?;
        let renamed = self.rename(&user).await?;
        let changed = Instant::now();
        self.begin(3);
        let deadline = Instant::now() + PROMPT_MAX;
        while self.panel.api.inspector.compare(user.id).await?.state == EntryState::Stale {
            self.same_mode(Mode::Cdc)?;
            self.check(deadline, "the key was not invalidated: is the consumer up?")?;
            tokio::time::sleep(POLL).await;
        }
        self.done(3, measured(changed.elapsed()));
        self.panel.tour.pause(4).await?;
        self.begin(4);
        let took = Instant::now();
        self.read_until_fresh(&user, &renamed).await?;
        self.done(4, measured(took.elapsed()));
        Ok(())
    }

    /// The first two steps: the mode, and a user that is cached.
    async fn prepare(&self, mode: Mode) -> Result<User, Failure> {
        let api = &self.panel.api;
        self.begin(0);
        let started = Instant::now();
        let row = api.modes.set(mode, None).await?;
        api.pipeline.followed(row.mode).await;
        self.done(0, measured(started.elapsed()));
        self.panel.tour.pause(1).await?;
        self.begin(1);
        let user = match api.database.get_by_email(ADDRESS).await?.value {
            Some(user) => user,
            None => self.create().await?,
        };
        self.panel.tour.change(|view| view.user = Some(user.id));
        let started = Instant::now();
        self.renew(user.id).await?;
        self.panel.tour.change(|view| {
            if let Some(step) = view.steps.get_mut(1) {
                step.words = format!("Read user {}: now cached", user.id);
            }
        });
        self.done(1, measured(started.elapsed()));
        if self.panel.tour.pause(2).await? {
            self.same_mode(mode)?;
            // The entry has aged meanwhile, and what the next step shows takes its whole time to live.
            self.renew(user.id).await?;
        }
        Ok(user)
    }

    /// Removes what is cached, and reads until a new entry is cached, which starts with its full TTL.
    async fn renew(&self, id: u64) -> Result<(), Failure> {
        self.panel.api.caches.users.invalidate(&id).await?;
        self.keep(id).await
    }

    async fn create(&self) -> Result<User, Failure> {
        let input = UserInput { name: NAMES[0].into(), email: ADDRESS.into(), status: None };
        Ok(self.panel.api.database.create(None, &input).await?.value)
    }

    /// The third step. Returns the new name.
    async fn rename(&self, user: &User) -> Result<String, Failure> {
        self.begin(2);
        let name = if user.name == NAMES[0] { NAMES[1] } else { NAMES[0] };
        let started = Instant::now();
        let input = UserInput { name: name.into(), email: user.email.clone(), status: None };
        let written = self.panel.api.database.update(user.id, &input).await?;
        if written.is_none() {
            return Err(Failure("another client deleted the user".into()));
        }
        self.panel.tour.change(|view| {
            if let Some(step) = view.steps.get_mut(2) {
                step.words = format!("Change its name to {name}");
            }
        });
        self.done(2, measured(started.elapsed()));
        Ok(name.into())
    }

    /// Counts down until the entry is no longer stale. Until then a plain read would return the old name.
    async fn until_expired(&self, user: &User, changed: Instant) -> Result<(), Failure> {
        let deadline = Instant::now() + self.panel.ttl + PROMPT_MAX;
        loop {
            let view = self.panel.api.inspector.compare(user.id).await?;
            if view.state != EntryState::Stale {
                break;
            }
            let left = view.ttl_ms.map(Duration::from_millis);
            self.panel.tour.change(|tour| {
                tour.left = left;
                if let (Some(step), Some(left)) = (tour.steps.get_mut(3), left) {
                    step.note = format!("{:.1} s left", left.as_secs_f64());
                }
            });
            self.check(deadline, "the entry did not expire: does another client renew it?")?;
            self.same_mode(Mode::Ttl)?;
            tokio::time::sleep(COUNTDOWN_POLL).await;
        }
        self.same_mode(Mode::Ttl)?;
        self.done(3, format!("for {}", measured(changed.elapsed())));
        Ok(())
    }

    async fn read_until_fresh(&self, user: &User, name: &str) -> Result<(), Failure> {
        let deadline = Instant::now() + PROMPT_MAX;
        loop {
            let read = self.read(user.id).await?;
            let view = self.panel.api.inspector.compare(user.id).await?;
            if read.is_some_and(|read| read.name == name) && view.state == EntryState::Healthy {
                return Ok(());
            }
            self.check(deadline, "the read is still not fresh")?;
            tokio::time::sleep(POLL).await;
        }
    }

    /// Reads through the cache, as a client does.
    async fn read(&self, id: u64) -> Result<Option<User>, Failure> {
        let api = &self.panel.api;
        Ok(api.writes.reading(id, api.caches.users.get(&id).detailed()).await?.value)
    }

    /// Reads until the entry is cached.
    async fn keep(&self, id: u64) -> Result<(), Failure> {
        let deadline = Instant::now() + PROMPT_MAX;
        loop {
            self.read(id).await?;
            if self.panel.api.inspector.compare(id).await?.state == EntryState::Healthy {
                return Ok(());
            }
            self.check(deadline, "the entry is not kept: is the store up?")?;
            tokio::time::sleep(POLL).await;
        }
    }

    fn check(&self, deadline: Instant, otherwise: &str) -> Result<(), Failure> {
        if Instant::now() < deadline { Ok(()) } else { Err(Failure(otherwise.to_owned())) }
    }

    fn same_mode(&self, mode: Mode) -> Result<(), Failure> {
        match self.panel.api.modes.current().mode == mode {
            true => Ok(()),
            false => Err(Failure("another client switched the mode: start again".into())),
        }
    }

    fn begin(&self, step: usize) {
        self.set(step, Progress::Now, String::new());
    }

    fn done(&self, step: usize, note: String) {
        self.set(step, Progress::Done, note);
    }

    fn set(&self, step: usize, progress: Progress, note: String) {
        self.panel.tour.change(|view| {
            view.left = None;
            if let Some(step) = view.steps.get_mut(step) {
                step.progress = progress;
                step.note = note;
            }
        });
    }
}

fn measured(duration: Duration) -> String {
    let millis = duration.as_secs_f64() * 1e3;
    match millis {
        _ if millis < 10.0 => format!("{millis:.1} ms"),
        _ if millis < 1_000.0 => format!("{millis:.0} ms"),
        _ => format!("{:.1} s", millis / 1e3),
    }
}
