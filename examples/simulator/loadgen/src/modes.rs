//! Loads in modes of the caller's choice, one after the other. The mode that was found is restored in any case.

use std::time::Duration;

use simulator_cli::CliError;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::load::{BuiltWith, Client, Job, LoadPlan, LoadProgress, LoadResult, ModeView, Reads, Row, Target, execute};

/// Timeout of a request to the API.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Maximum time until a mode switch is in force in all processes.
const ELSEWHERE: Duration = Duration::from_secs(1);

/// How long to wait after a mode switch until the cache keeps entries, before giving up.
const KEEPS_WITHIN: Duration = Duration::from_secs(15);

/// Pause between two checks of the cache.
const LOOK: Duration = Duration::from_millis(20);

/// Maximum number of attempts to restore the mode, and the pause between them.
const ATTEMPTS: u32 = 5;
const ATTEMPT_PAUSE: Duration = Duration::from_secs(1);

/// What the work returned, and what was found around it.
pub(crate) struct Ended<T> {
    pub(crate) work: T,
    /// How the API's caches are built, `None` if it does not say.
    pub(crate) caches: Option<BuiltWith>,
    /// Where the API reads changes from, `None` if it does not say.
    pub(crate) source: Option<String>,
    /// The mode in force again, or why it could not be restored and what to do.
    pub(crate) restored: Result<String, String>,
}

/// Switches modes and measures in them.
pub(crate) struct Modes {
    client: Client,
    target: Target,
    stop: CancellationToken,
    /// Address prefix of all rows.
    prefix: String,
    /// The mode that was set last.
    ours: watch::Sender<ModeView>,
    /// Why there is no result after an early stop.
    stopped: &'static str,
}

/// Runs `work` in a task of its own and restores the mode afterwards, even after a panic. `restoring` is called in between.
/// `stopped` says why there is no result after an early stop.
///
/// # Errors
/// A line that says how the API failed, or `stopped`. The mode is restored in both cases.
pub(crate) async fn with_modes<T, F>(
    target: Target,
    stop: &CancellationToken,
    stopped: &'static str,
    work: impl FnOnce(Modes) -> F + Send,
    restoring: impl FnOnce() + Send,
) -> Result<Ended<T>, CliError>
where
    T: Send + 'static,
    F: Future<Output = Result<T, CliError>> + Send + 'static,
{
    let client = Client::new(&target, TIMEOUT, 4)?;
    let (found, caches, source) = (client.mode().await?, client.caches().await, client.source().await);
    let number = getrandom::u32().map_err(|error| CliError::new(error.to_string()))?;
    let prefix = format!("ab-{number:08x}-");
    let (ours, last) = watch::channel(found.clone());
    let modes = Modes { client: client.clone(), target, stop: stop.clone(), prefix: prefix.clone(), ours, stopped };
    let ended = tokio::spawn(work(modes)).await;
    restoring();
    let ours = last.borrow().clone();
    let restored = restore(&client, &found, &ours).await;
    // Every measurement removes its own rows; a request that was in progress at an interruption may have left one more.
    client.remove_all(&prefix).await;
    let ended = ended.unwrap_or_else(|_| Err(CliError::new("the run ended by an error of its own")));
    match (ended, restored) {
        (Ok(work), restored) => {
            Ok(Ended { work, caches, source, restored: restored.map_err(|error| error.to_string()) })
        }
        (Err(error), Ok(_)) => Err(error),
        (Err(_), Err(error)) => Err(error),
    }
}

/// Restores the mode that was found, unless another client has changed it since. Returns the mode in force.
async fn restore(client: &Client, found: &ModeView, ours: &ModeView) -> Result<String, CliError> {
    let mut last = CliError::new("the mode was not read");
    for _ in 0..ATTEMPTS {
        match client.mode().await {
            Ok(now) if now.mode == found.mode || now.version != ours.version => return Ok(now.mode),
            Ok(now) => match client.set_mode(&found.mode, Some(now.version)).await {
                Ok(Some(_)) => return Ok(found.mode.clone()),
                // Another client changed the mode in between: read it again.
                Ok(None) => {}
                Err(error) => last = error,
            },
            Err(error) => last = error,
        }
        tokio::time::sleep(ATTEMPT_PAUSE).await;
    }
    let mode = &found.mode;
    Err(CliError::new(format!("the mode was {mode} and could not be put back: switch it to {mode} yourself; {last}")))
}

impl Modes {
    /// Switches to a mode and waits until it is in force everywhere. `name` is of the rows that are made for it.
    ///
    /// # Errors
    /// As [`with_modes`].
    pub(crate) async fn enter(&self, name: &str, mode: &str) -> Result<ModeView, CliError> {
        // Must not be cancelled: a switch whose response was never read could not be distinguished from another
        // client's.
        let in_force = self.switch(mode).await?;
        tokio::select! {
            kept = self.until_in_force(name, mode) => kept?,
            () = self.stop.cancelled() => return Err(self.stopped()),
        }
        Ok(in_force)
    }

    /// Measures `plan` on rows of its own and sends its progress to `follow`.
    ///
    /// # Errors
    /// As [`with_modes`].
    pub(crate) async fn measure(
        &self,
        name: &str,
        plan: &LoadPlan,
        reads: Reads,
        follow: impl Fn(&LoadProgress) + Send + Sync,
    ) -> Result<LoadResult, CliError> {
        let job = Job {
            target: self.target.clone(),
            plan: plan.clone(),
            prefix: format!("{}{name}-", self.prefix),
            removes_rows: true,
            shown_within: Some(KEEPS_WITHIN),
            reads,
        };
        let load = watch::Sender::new(LoadProgress::default());
        let mut progress = load.subscribe();
        let followed = async {
            while progress.changed().await.is_ok() {
                follow(&progress.borrow_and_update().clone());
            }
        };
        let result = tokio::select! {
            result = execute(&job, &self.stop, &load) => result?,
            () = followed => return Err(CliError::new("a measurement ended without a result")),
        };
        if result.stopped { Err(self.stopped()) } else { Ok(result) }
    }

    /// Returns true if the mode is still the one that [`enter`](Self::enter) returned.
    pub(crate) async fn is_undisturbed(&self, in_force: &ModeView) -> bool {
        self.client.mode().await.is_ok_and(|now| now == *in_force)
    }

    async fn switch(&self, mode: &str) -> Result<ModeView, CliError> {
        let now = self.client.mode().await?;
        let in_force = match now.mode == mode {
            true => now,
            false => {
                let Some(set) = self.client.set_mode(mode, Some(now.version)).await? else {
                    return Err(CliError::new("another client has just changed the mode: start again"));
                };
                set
            }
        };
        self.ours.send_replace(in_force.clone());
        Ok(in_force)
    }

    /// Waits until every process has switched the mode and the cache keeps entries.
    async fn until_in_force(&self, name: &str, mode: &str) -> Result<(), CliError> {
        tokio::time::sleep(ELSEWHERE).await;
        let rows = self.client.rows(&format!("{}look-{name}-", self.prefix), 1).await?;
        let Some(row) = rows.first() else { return Ok(()) };
        tokio::time::timeout(KEEPS_WITHIN, self.until_kept(row)).await.map_err(|_| {
            CliError::new(format!(
                "the cache keeps nothing in {mode} mode within {KEEPS_WITHIN:?}: look at GET /pipeline, is it running?"
            ))
        })
    }

    async fn until_kept(&self, row: &Row) {
        loop {
            self.client.until_shown(row.id).await;
            if self.client.state(row.id).await.is_ok_and(|state| state == "healthy") {
                return;
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    fn stopped(&self) -> CliError {
        CliError::new(self.stopped)
    }
}
