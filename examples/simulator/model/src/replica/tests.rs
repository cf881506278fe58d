//! The replica over the embedded database and its log table.

use cachefront::clock::SystemClock;
use cachefront::source::TableFilter;
use cachefront::{Cache, Timestamp};
use tempfile::TempDir;

use super::*;
use crate::db::sqlite::Sqlite;
use crate::domain::UserInput;
use crate::faults::FaultState;
use crate::source::LogTableSource;

struct Scene {
    database: Arc<Sqlite>,
    faults: Arc<Faults>,
    replica: Arc<Replica>,
    follower: tokio::task::JoinHandle<Result<()>>,
    _directory: TempDir,
}

async fn scene(lag_ms: u64) -> Scene {
    let directory = TempDir::new().expect("a directory");
    let database = Arc::new(Sqlite::open(directory.path(), Arc::new(SystemClock::new())).expect("a database"));
    let faults = Faults::new(Arc::<Sqlite>::clone(&database));
    let replica = Replica::new(Arc::<Sqlite>::clone(&database), Arc::clone(&faults));
    database.create(None, &input("Ada")).await.expect("a user");
    faults.set(FaultState { replica_lag_ms: lag_ms, ..FaultState::default() }).await.expect("switched on");
    let mut source = LogTableSource::new(database.file()).expect("a source");
    let followed = Arc::clone(&replica);
    let filter = filter();
    let follower = tokio::spawn(async move { followed.follow(&mut source, &filter).await });
    Scene { database, faults, replica, follower, _directory: directory }
}

fn filter() -> TableFilter {
    let cache: Cache<u64, User> =
        Cache::builder("users").depends_on("main.users", |row| Ok(vec![row.get("id")?])).build().expect("a cache");
    cache.key_map().table_filter()
}

fn input(name: &str) -> UserInput {
    UserInput { name: name.into(), email: "ada@example.org".into(), status: None }
}

fn context(fence: Option<Position>, wait: Duration) -> LoadCx {
    LoadCx::new(Timestamp::UNKNOWN).with_fence(fence, wait)
}

impl Scene {
    async fn name(&self, cx: &LoadCx) -> String {
        let by_id = self.replica.get(1, cx).await.expect("read").expect("a user");
        by_id.name
    }
}

#[tokio::test]
async fn a_lagging_replica_shows_an_older_row_with_its_own_position() {
    let mut scene = scene(10_000).await;
    let plain = || context(None, Duration::ZERO);
    assert_eq!(scene.name(&plain()).await, "Ada");
    let written = scene.database.update(1, &input("Ada King")).await.expect("written").expect("a user");
    let token = written.token.expect("a token");
    let cx = plain();
    assert_eq!(scene.name(&cx).await, "Ada");
    let notes = cx.notes();
    assert!(notes.replica && notes.origin.is_none(), "{notes:?}");
    assert!(notes.position.is_some_and(|position| !position.covers(&token)));
    let by_email = scene.replica.get_by_email("ada@example.org", &plain()).await.expect("read").expect("a user");
    assert_eq!(by_email.name, "Ada");
    // A fence that is out of reach is waited for, and not for longer than is allowed.
    let began = Instant::now();
    assert_eq!(scene.name(&context(Some(token.clone()), Duration::from_millis(50))).await, "Ada");
    assert!(began.elapsed() >= Duration::from_millis(50));
    let primary = context(None, Duration::ZERO);
    let read = scene.replica.get_from_primary(1, &primary).await.expect("read").expect("a user");
    assert!(read.name == "Ada King" && !primary.notes().replica);

    scene.faults.set(FaultState::default()).await.expect("lifted");
    (&mut scene.follower).await.expect("it ends").expect("without an error");
    let cx = plain();
    assert_eq!(scene.name(&cx).await, "Ada King");
    assert!(!cx.notes().replica && cx.notes().position.is_some_and(|position| position.covers(&token)));
}

#[tokio::test]
async fn a_load_waits_for_its_fence_and_then_shows_it() {
    let scene = scene(200).await;
    scene.name(&context(None, Duration::ZERO)).await;
    let written = scene.database.update(1, &input("Ada King")).await.expect("written").expect("a user");
    let token = written.token.expect("a token");
    let cx = context(Some(token.clone()), Duration::from_secs(30));
    assert_eq!(scene.name(&cx).await, "Ada King");
    assert!(cx.notes().position.is_some_and(|position| position.covers(&token)));
}
