//! Loads in modes of the caller's choice, one after the other. The mode that was found is restored in any case.

use std::time::Duration;

use simulator_cli::CliError;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::load::{Client, Job, Leaves, LoadPlan, LoadProgress, LoadResult, ModeView, Reads, Row, Setup, execute};
use crate::unfinished::{Ours, Site, Unfinished};

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
    pub(crate) setup: Setup,
    /// The mode in force again, or why it could not be restored and what to do.
    pub(crate) restored: Result<String, String>,
}

/// Switches modes and measures in them.
pub(crate) struct Modes {
    client: Client,
    site: Site,
    /// What is noted of the run, and the mode that it has set last, or may have.
    ours: watch::Sender<Unfinished>,
    stop: CancellationToken,
    /// Why there is no result after an early stop.
    stopped: &'static str,
}

/// Runs `work` in a task of its own and restores the mode afterwards, even after a panic. `restoring` is called in between.
/// `kind` is of the run, and `stopped` says why there is no result after an early stop.
///
/// # Errors
/// A line that says how the API failed, or `stopped`. The mode is restored in both cases.
pub(crate) async fn with_modes<T, F>(
    site: Site,
    stop: &CancellationToken,
    kind: &str,
    stopped: &'static str,
    work: impl FnOnce(Modes) -> F + Send,
    restoring: impl FnOnce() + Send,
) -> Result<Ended<T>, CliError>
where
    T: Send + 'static,
    F: Future<Output = Result<T, CliError>> + Send + 'static,
{
    let client = Client::new(&site.target, TIMEOUT, 4)?;
    let (found, setup) = (client.mode().await?, client.setup().await);
    let number = getrandom::u32().map_err(|error| CliError::new(error.to_string()))?;
    let prefix = format!("ab-{number:08x}-");
    let ours = Ours { set: found.clone(), attempted: None };
    let unfinished = Unfinished { kind: kind.to_owned(), prefix: prefix.clone(), found: found.clone(), ours };
    site.note(&unfinished);
    let (ours, last) = watch::channel(unfinished);
    let modes = Modes { client: client.clone(), site: site.clone(), ours, stop: stop.clone(), stopped };
    let ended = tokio::spawn(work(modes)).await;
    restoring();
    let Unfinished { ours, .. } = last.borrow().clone();
    let restored = restore(&client, &found, &ours).await;
    // Every measurement removes its own rows; a request that was in progress at an interruption may have left one more.
    let removed = client.remove_all(&prefix).await;
    // What could not be taken back now may be at the next start.
    if restored.is_ok() && removed {
        site.forget();
    }
    let ended = ended.unwrap_or_else(|_| Err(CliError::new("the run ended by an error of its own")));
    match (ended, restored) {
        (Ok(work), restored) => Ok(Ended { work, setup, restored: restored.map_err(|error| error.to_string()) }),
        (Err(error), Ok(_)) => Err(error),
        (Err(_), Err(error)) => Err(error),
    }
}

/// Restores the mode that was found, unless another client has changed it since. Returns the mode in force.
async fn restore(client: &Client, found: &ModeView, ours: &Ours) -> Result<String, CliError> {
    let mut last = CliError::new("the mode was not read");
    for attempt in 1..=ATTEMPTS {
        match client.mode().await {
            // The server may not have come to it yet: it is read again, up to the last attempt.
            Ok(now) if attempt < ATTEMPTS && ours.may_change(&now) => {}
            Ok(now) if now.mode == found.mode || !ours.has(&now) => return Ok(now.mode),
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

/// Takes back what a killed process has left of a run, as soon as the API responds. Returns what came of it, for the user.
pub(crate) async fn take_back(site: &Site, unfinished: &Unfinished, stop: &CancellationToken) -> String {
    let Unfinished { prefix, found, ours, .. } = unfinished;
    let attempts = async {
        let client = match Client::new(&site.target, TIMEOUT, 4) {
            Ok(client) => client,
            Err(error) => return error.to_string(),
        };
        loop {
            let restored = restore(&client, found, ours).await;
            if let (Ok(mode), true) = (restored, client.remove_all(prefix).await) {
                site.forget();
                return format!(
                    "The last run was cut off when the program was killed. Its rows were removed; the mode was {} before it and is {mode} now.",
                    found.mode
                );
            }
            tokio::time::sleep(ATTEMPT_PAUSE).await;
        }
    };
    tokio::select! {
        message = attempts => message,
        () = stop.cancelled() => format!(
            "The last run was cut off when the program was killed, and nothing was taken back yet: the mode was {} before it, and its \
             rows have addresses that begin with {prefix}.",
            found.mode
        ),
    }
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
            target: self.site.target.clone(),
            plan: plan.clone(),
            prefix: format!("{}{name}-", self.prefix()),
            leaves: Leaves::RowsIfStopped,
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

    /// Changes what is known of the run's switches, also in the note.
    fn note(&self, change: impl FnOnce(&mut Ours)) {
        self.ours.send_modify(|unfinished| {
            change(&mut unfinished.ours);
            self.site.note(unfinished);
        });
    }

    /// Returns the address prefix of all rows.
    fn prefix(&self) -> String {
        self.ours.borrow().prefix.clone()
    }

    async fn switch(&self, mode: &str) -> Result<ModeView, CliError> {
        let now = self.client.mode().await?;
        let in_force = match now.mode == mode {
            true => now,
            false => {
                // Without a response it is not known whether it was switched.
                let attempted = ModeView { mode: mode.to_owned(), version: now.version + 1 };
                self.note(|ours| ours.attempted = Some(attempted));
                let Some(set) = self.client.set_mode(mode, Some(now.version)).await? else {
                    self.note(|ours| ours.attempted = None);
                    return Err(CliError::new("another client has just changed the mode: start again"));
                };
                set
            }
        };
        self.note(|ours| *ours = Ours { set: in_force.clone(), attempted: None });
        Ok(in_force)
    }

    /// Waits until every process has switched the mode and the cache keeps entries.
    async fn until_in_force(&self, name: &str, mode: &str) -> Result<(), CliError> {
        tokio::time::sleep(ELSEWHERE).await;
        let rows = self.client.rows(&format!("{}look-{name}-", self.prefix()), 1).await?;
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

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader, Read, Write};
    use std::net::{TcpListener, TcpStream};
    use std::sync::{Arc, Mutex};

    use super::*;
    use crate::load::Target;

    /// What becomes of a switch whose response is lost.
    #[derive(Clone, Copy, Debug)]
    enum Lost {
        Applied,
        /// Carried out after the mode has been read this many times.
        AppliedAfter(u32),
    }

    #[derive(Debug)]
    struct Row {
        now: ModeView,
        /// Of the next switch; those after it are answered.
        lost: Option<Lost>,
        late: Option<(u32, ModeView)>,
    }

    /// The mode of an API that loses the response to a switch.
    #[derive(Clone, Debug)]
    struct Api(Arc<Mutex<Row>>);

    fn view(mode: &str, version: u64) -> ModeView {
        ModeView { mode: mode.to_owned(), version }
    }

    impl Api {
        /// Starts to listen, in CDC mode. The thread ends with the test's process.
        fn start(lost: Option<Lost>) -> (Self, Site) {
            let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
            let url = format!("http://{}", listener.local_addr().expect("an address"));
            let api = Self(Arc::new(Mutex::new(Row { now: view("cdc", 1), lost, late: None })));
            let serving = api.clone();
            std::thread::spawn(move || listener.incoming().flatten().for_each(|stream| drop(serving.serve(stream))));
            (api, Site { target: Target { url, token: None }, note: None })
        }

        fn now(&self) -> ModeView {
            self.0.lock().expect("no holder panics").now.clone()
        }

        fn set(&self, mode: ModeView) {
            self.0.lock().expect("no holder panics").now = mode;
        }

        /// Responds to one request, and closes the connection.
        fn serve(&self, mut stream: TcpStream) -> std::io::Result<()> {
            let mut reader = BufReader::new(stream.try_clone()?);
            let (mut first, mut length) = (String::new(), 0);
            reader.read_line(&mut first)?;
            loop {
                let mut line = String::new();
                reader.read_line(&mut line)?;
                match line.to_ascii_lowercase().strip_prefix("content-length:") {
                    Some(value) => length = value.trim().parse().expect("a length"),
                    None if line.trim().is_empty() => break,
                    None => {}
                }
            }
            let mut body = vec![0; length];
            reader.read_exact(&mut body)?;
            let body = String::from_utf8(body).expect("text");
            let Some((status, text)) = self.answer(&first, &body) else { return Ok(()) };
            let head = format!("HTTP/1.1 {status} X\r\nconnection: close\r\ncontent-length: {}", text.len());
            stream.write_all(format!("{head}\r\n\r\n{text}").as_bytes())
        }

        /// `None`: the response is lost.
        fn answer(&self, first: &str, body: &str) -> Option<(u16, String)> {
            let mut row = self.0.lock().expect("no holder panics");
            let json = |mode: &ModeView| format!("{{\"mode\":\"{}\",\"version\":{}}}", mode.mode, mode.version);
            if first.starts_with("GET /mode ") {
                let now = row.now.clone();
                match row.late.take() {
                    Some((0, late)) => row.now = late,
                    Some((more, late)) => row.late = Some((more - 1, late)),
                    None => {}
                }
                return Some((200, json(&now)));
            }
            if first.starts_with("PUT /mode ") {
                let mode = if body.contains("ttl") { "ttl" } else { "cdc" };
                let next = view(mode, row.now.version + 1);
                match row.lost.take() {
                    None => row.now = next,
                    Some(Lost::Applied) => {
                        row.now = next;
                        return None;
                    }
                    Some(Lost::AppliedAfter(reads)) => {
                        row.late = Some((reads, next));
                        return None;
                    }
                }
                return Some((200, json(&row.now)));
            }
            Some(if first.starts_with("GET /users?") { (200, "[]".into()) } else { (404, "{}".into()) })
        }
    }

    async fn enter(site: Site) -> Result<Ended<ModeView>, CliError> {
        let stop = CancellationToken::new();
        with_modes(site, &stop, "sweep", "stopped", |modes| async move { modes.enter("side", "ttl").await }, || {})
            .await
    }

    #[tokio::test]
    async fn a_switch_whose_response_is_lost_is_taken_back() {
        for lost in [Lost::Applied, Lost::AppliedAfter(1)] {
            let (api, site) = Api::start(Some(lost));
            assert!(enter(site).await.is_err(), "{lost:?}");
            assert_eq!(api.now(), view("cdc", 3), "{lost:?}");
        }
    }

    #[tokio::test]
    async fn a_mode_that_another_client_has_set_stays() {
        let (api, site) = Api::start(None);
        let (stop, other) = (CancellationToken::new(), api.clone());
        let work = |modes: Modes| async move {
            modes.switch("ttl").await?;
            other.set(view("ttl", 7));
            Err::<(), _>(CliError::new("the work failed"))
        };
        assert!(with_modes(site, &stop, "sweep", "stopped", work, || {}).await.is_err());
        assert_eq!(api.now(), view("ttl", 7));
    }

    /// A process is killed when it has switched, or when it has sent the switch and not read the response.
    #[tokio::test]
    async fn the_next_process_takes_back_what_a_killed_one_has_done() {
        for lost in [None, Some(Lost::Applied)] {
            let (api, site) = Api::start(lost);
            let folder = tempfile::tempdir().expect("a folder");
            let site = Site { note: Some(folder.path().join("data/unfinished.json").into()), ..site };
            let (killed, stop) = (site.clone(), CancellationToken::new());
            let seen = Arc::new(Mutex::new(None));
            let noted = Arc::clone(&seen);
            let work = |modes: Modes| async move {
                let _ = modes.switch("ttl").await;
                *noted.lock().expect("no holder panics") = modes.site.unfinished();
                Ok(())
            };
            with_modes(killed, &stop, "sweep", "stopped", work, || {}).await.expect("an end");
            assert_eq!(site.unfinished(), None, "nothing is left of a run that came to its end");
            let unfinished = seen.lock().expect("no holder panics").clone().expect("a note while it runs");
            // As the killed process has left it.
            site.note(&unfinished);
            api.set(view("ttl", 2));
            let message = take_back(&site, &site.unfinished().expect("a note"), &stop).await;
            assert!(message.contains("was cdc before it and is cdc now"), "{message}");
            assert_eq!((api.now(), site.unfinished()), (view("cdc", 3), None), "{lost:?}");
            // A mode that another client has set since stays.
            site.note(&unfinished);
            api.set(view("ttl", 9));
            let message = take_back(&site, &unfinished, &stop).await;
            assert!(message.contains("is ttl now") && api.now() == view("ttl", 9), "{message}");
        }
    }

    #[tokio::test]
    async fn an_api_that_is_away_is_waited_for_until_the_user_stops_it() {
        let note = Unfinished {
            kind: "sweep".into(),
            prefix: "ab-1-".into(),
            found: view("cdc", 1),
            ours: Ours { set: view("ttl", 2), attempted: None },
        };
        let site = Site { target: Target { url: "http://127.0.0.1:1".into(), token: None }, note: None };
        let stop = CancellationToken::new();
        stop.cancel();
        let message = take_back(&site, &note, &stop).await;
        assert!(message.contains("nothing was taken back yet") && message.contains("ab-1-"), "{message}");
    }
}
