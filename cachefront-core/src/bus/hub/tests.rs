//! What turns a process-local tier on and off, over a scripted bus and a manual clock.

use std::collections::VecDeque;
use std::sync::Mutex as StdMutex;

use async_trait::async_trait;
use tokio::sync::{Mutex, mpsc};

use super::*;
use crate::clock::SystemEntropy;
use crate::error::{Error, ErrorKind, Result};
use crate::testing::ManualClock;

const MINE: MappingId = MappingId(1);
const OTHER: MappingId = MappingId(2);
const SERVER: ServerId = ServerId(5);
const SILENCE: Duration = Duration::from_secs(2);

/// A cache that records its notifications.
struct Recorder {
    mapping: Option<MappingId>,
    silence_max: Duration,
    started: StdMutex<Option<ServerId>>,
    notified: StdMutex<Vec<String>>,
}

impl Default for Recorder {
    fn default() -> Self {
        let (started, notified) = Default::default();
        Self { mapping: Some(MINE), silence_max: SILENCE, started, notified }
    }
}

impl Recorder {
    fn say(&self, what: impl Into<String>) {
        self.notified.lock().expect("unpoisoned").push(what.into());
    }

    fn take(&self) -> Vec<String> {
        std::mem::take(&mut *self.notified.lock().expect("unpoisoned"))
    }
}

impl Listener for Recorder {
    fn cache(&self) -> &str {
        "users"
    }

    fn mapping(&self) -> Option<MappingId> {
        self.mapping
    }

    fn silence_max(&self) -> Duration {
        self.silence_max
    }

    fn is_started(&self) -> bool {
        self.started.lock().expect("unpoisoned").is_some()
    }

    fn start(&self, server: ServerId) {
        *self.started.lock().expect("unpoisoned") = Some(server);
        self.say(format!("on {}", server.0));
    }

    fn heard(&self) {}

    fn stop(&self, reason: &'static str) {
        *self.started.lock().expect("unpoisoned") = None;
        self.say(format!("off {reason}"));
    }

    fn invalidate(&self, key: &str) {
        self.say(key);
    }

    fn invalidate_all(&self) {
        self.say("all");
    }

    fn handled(&self, applied: &Position, source_time: Timestamp) {
        self.say(format!("handled {applied} {}", source_time.as_micros()));
    }

    fn delayed(&self, _delay: Duration) {}
}

/// What the test feeds to one reader of the bus.
type Feed = mpsc::UnboundedSender<Result<Vec<BusRead>>>;

/// A bus whose readers deliver what the test sends.
#[derive(Debug)]
struct Script {
    feeds: Mutex<VecDeque<mpsc::UnboundedReceiver<Result<Vec<BusRead>>>>>,
    /// Where the next subscription begins.
    begins: Arc<StdMutex<(ServerId, u64)>>,
}

#[async_trait]
impl InvalidationBus for Script {
    async fn publish(&self, _message: &BusMessage) -> Result<u64> {
        Err(Error::new(ErrorKind::Unavailable, "a script is not published to"))
    }

    async fn subscribe(&self) -> Result<Box<dyn BusReader>> {
        match self.feeds.lock().await.pop_front() {
            Some(feed) => {
                let (server, head) = *self.begins.lock().expect("unpoisoned");
                Ok(Box::new(ScriptReader { feed, server, head }))
            }
            None => std::future::pending().await,
        }
    }
}

#[derive(Debug)]
struct ScriptReader {
    feed: mpsc::UnboundedReceiver<Result<Vec<BusRead>>>,
    server: ServerId,
    head: u64,
}

#[async_trait]
impl BusReader for ScriptReader {
    fn head(&self) -> u64 {
        self.head
    }

    fn server(&self) -> ServerId {
        self.server
    }

    async fn next(&mut self) -> Result<Vec<BusRead>> {
        match self.feed.recv().await {
            Some(reads) => reads,
            None => std::future::pending().await,
        }
    }
}

struct Scene {
    clock: ManualClock,
    recorder: Arc<Recorder>,
    feeds: Vec<Feed>,
    begins: Arc<StdMutex<(ServerId, u64)>>,
    sequence: u64,
    hub: Hub,
    _listener: Arc<dyn Listener>,
}

fn pace(clock: &ManualClock) -> Pace {
    Pace {
        clock: Arc::new(clock.clone()),
        entropy: Arc::new(SystemEntropy),
        pause_min: Duration::from_millis(1),
        pause_max: Duration::from_millis(1),
    }
}

impl Scene {
    async fn new() -> Self {
        Self::with(Recorder::default()).await
    }

    /// Follows the bus for this cache, from the first message on.
    async fn with(recorder: Recorder) -> Self {
        let (scene, notified) = Self::at(0, recorder).await;
        assert!(notified.is_empty(), "nothing was published");
        scene
    }

    /// Follows the bus for this cache from this head on. Returns its notifications too.
    async fn at(head: u64, recorder: Recorder) -> (Self, Vec<String>) {
        let (clock, recorder) = (ManualClock::new(), Arc::new(recorder));
        let (feeds, readers) = (0..3).map(|_| mpsc::unbounded_channel()).unzip();
        let begins = Arc::new(StdMutex::new((SERVER, head)));
        let listener: Arc<dyn Listener> = Arc::<Recorder>::clone(&recorder);
        let hub = Hub::new();
        let script = Script { feeds: Mutex::new(readers), begins: Arc::clone(&begins) };
        hub.join(Arc::new(script), pace(&clock), &listener);
        let scene = Self { clock, recorder, feeds, begins, sequence: head, hub, _listener: listener };
        let notified = scene.settle().await;
        (scene, notified)
    }

    /// Ends the reader, and begins the next one there. Returns the notifications of the cache.
    async fn subscribe_again(&mut self, server: ServerId, head: u64) -> Vec<String> {
        *self.begins.lock().expect("unpoisoned") = (server, head);
        self.feeds[0].send(Err(Error::new(ErrorKind::Unavailable, "gone"))).expect("a follower");
        self.feeds.remove(0);
        let before = self.settle().await;
        self.clock.advance(Duration::from_secs(1));
        self.sequence = head;
        [before, self.settle().await].concat()
    }

    /// Lets the follower handle everything that was sent, and returns the notifications of the cache.
    async fn settle(&self) -> Vec<String> {
        for _ in 0..50 {
            tokio::task::yield_now().await;
        }
        self.recorder.take()
    }

    fn read(&mut self, message: BusMessage) -> BusRead {
        self.sequence += 1;
        BusRead { server: SERVER, sequence: self.sequence, message }
    }

    async fn send(&mut self, message: BusMessage) -> Vec<String> {
        let read = self.read(message);
        self.feeds[0].send(Ok(vec![read])).expect("a follower");
        self.settle().await
    }
}

fn message(publisher: u128, event: BusEvent) -> BusMessage {
    BusMessage {
        publisher: Publisher(publisher),
        event,
        applied: (publisher != 0).then(|| "a:1-3".parse().expect("a position")),
        source_time: Timestamp::UNKNOWN,
        sent_at: Timestamp::UNKNOWN,
    }
}

fn beat(publisher: u128) -> BusMessage {
    message(publisher, BusEvent::Heartbeat(vec![MINE, OTHER]))
}

fn keys(publisher: u128) -> BusMessage {
    message(publisher, BusEvent::Keys(vec!["users:1".into(), "orders:1".into()]))
}

#[tokio::test]
async fn only_a_heartbeat_that_covers_the_cache_turns_its_tier_on() {
    let mut scene = Scene::new().await;
    assert_eq!(scene.send(keys(9)).await, ["users:1"]);
    assert!(scene.send(message(9, BusEvent::Heartbeat(vec![OTHER]))).await.is_empty());
    assert_eq!(scene.send(beat(9)).await, ["on 5", "handled a:1-3 0"]);
    assert_eq!(scene.send(keys(9)).await, ["users:1", "handled a:1-3 0"]);
}

#[tokio::test]
async fn a_cache_that_is_no_longer_covered_is_off() {
    let mut scene = Scene::new().await;
    scene.send(beat(9)).await;
    assert_eq!(scene.send(message(9, BusEvent::Heartbeat(vec![OTHER]))).await, ["off not_covered"]);
    assert_eq!(scene.send(keys(9)).await, ["users:1"], "and no position is proven");
}

#[tokio::test]
async fn another_publisher_is_doubt_until_its_heartbeat() {
    let mut scene = Scene::new().await;
    scene.send(beat(9)).await;
    assert_eq!(scene.send(keys(8)).await, ["users:1", "off publisher"]);
    assert_eq!(scene.send(beat(8)).await, ["on 5", "handled a:1-3 0"]);
}

#[tokio::test]
async fn another_server_is_doubt() {
    let mut scene = Scene::new().await;
    scene.send(beat(9)).await;
    let mut read = scene.read(keys(9));
    read.server = ServerId(6);
    scene.feeds[0].send(Ok(vec![read])).expect("a follower");
    assert_eq!(scene.settle().await, ["users:1", "off publisher"]);
}

#[tokio::test]
async fn a_gap_or_a_repeated_sequence_is_doubt() {
    for jump in [1, -1_i64] {
        let mut scene = Scene::new().await;
        scene.send(beat(9)).await;
        scene.sequence = scene.sequence.saturating_add_signed(jump);
        assert_eq!(scene.send(keys(9)).await, ["off gap"]);
        // The follower subscribes again, after a pause.
        scene.clock.advance(Duration::from_secs(1));
        assert_eq!(scene.settle().await, ["all"]);
        let read = BusRead { server: SERVER, sequence: 1, message: beat(9) };
        scene.feeds[1].send(Ok(vec![read])).expect("a second subscription");
        assert_eq!(scene.settle().await, ["on 5", "handled a:1-3 0"]);
    }
}

#[tokio::test]
async fn a_lost_connection_is_doubt() {
    let mut scene = Scene::new().await;
    scene.send(beat(9)).await;
    scene.feeds[0].send(Err(Error::new(ErrorKind::Unavailable, "gone"))).expect("a follower");
    assert_eq!(scene.settle().await, ["off connection"]);
}

#[tokio::test]
async fn silence_of_the_publisher_is_doubt_and_only_its_heartbeat_ends_it() {
    let mut scene = Scene::new().await;
    scene.send(beat(9)).await;
    scene.clock.advance(SILENCE / 2);
    // A reader that invalidates a key is not the publisher.
    assert_eq!(scene.send(keys(0)).await, ["users:1"]);
    scene.clock.advance(SILENCE / 2);
    assert_eq!(scene.settle().await, ["off silence"]);
    assert_eq!(scene.send(keys(0)).await, ["users:1"]);
    assert_eq!(scene.send(keys(9)).await, ["users:1"]);
    assert_eq!(scene.send(beat(9)).await, ["on 5", "handled a:1-3 0"]);
    scene.clock.advance(SILENCE / 2);
    scene.send(keys(9)).await;
    scene.clock.advance(SILENCE / 2);
    assert!(scene.settle().await.is_empty(), "any message of the publisher shows that it lives");
}

#[tokio::test]
async fn a_readers_message_invalidates_without_a_proof() {
    let mut scene = Scene::new().await;
    scene.send(beat(9)).await;
    assert_eq!(scene.send(keys(0)).await, ["users:1"]);
    assert_eq!(scene.send(message(9, BusEvent::Caches(vec!["users".into()]))).await, ["all", "handled a:1-3 0"]);
    assert_eq!(scene.send(message(9, BusEvent::Caches(vec!["orders".into()]))).await, ["handled a:1-3 0"]);
}

#[tokio::test]
async fn a_source_time_is_kept_within_a_session_and_not_over_a_flush() {
    let mut scene = Scene::new().await;
    let timed = BusMessage { source_time: Timestamp::from_micros(7), ..beat(9) };
    assert_eq!(scene.send(timed.clone()).await, ["on 5", "handled a:1-3 7"]);
    assert_eq!(scene.send(keys(9)).await, ["users:1", "handled a:1-3 7"]);
    assert_eq!(scene.send(message(9, BusEvent::Flush)).await, ["all", "handled a:1-3 0"]);
    scene.send(timed).await;
    assert_eq!(scene.send(beat(8)).await, ["off publisher", "on 5", "handled a:1-3 0"]);
}

#[tokio::test]
async fn a_cache_that_comes_later_is_on_with_the_next_heartbeat() {
    let mut scene = Scene::new().await;
    scene.send(beat(9)).await;
    let late = Arc::new(Recorder::default());
    let listener: Arc<dyn Listener> = Arc::<Recorder>::clone(&late);
    scene.hub.members.all().push(Arc::downgrade(&listener));
    scene.send(keys(9)).await;
    assert_eq!(late.take(), ["users:1"]);
    scene.send(beat(9)).await;
    assert_eq!(late.take(), ["on 5", "handled a:1-3 0"]);
}

/// Its tier is always on, independent of the publisher.
#[tokio::test]
async fn a_cache_that_depends_on_no_table_is_cleared_in_doubt() {
    let mut scene = Scene::new().await;
    scene.send(beat(9)).await;
    let untracked = Arc::new(Recorder { mapping: None, ..Recorder::default() });
    let listener: Arc<dyn Listener> = Arc::<Recorder>::clone(&untracked);
    scene.hub.members.all().push(Arc::downgrade(&listener));
    scene.send(keys(0)).await;
    assert_eq!(untracked.take(), ["users:1"]);
    scene.sequence += 1;
    scene.send(keys(0)).await;
    assert_eq!(untracked.take(), ["all"], "an explicit invalidation may have been lost");
}

#[tokio::test]
async fn a_hub_that_is_dropped_leaves_no_tier_on() {
    let mut scene = Scene::new().await;
    scene.send(beat(9)).await;
    scene.hub = Hub::new();
    assert_eq!(scene.settle().await, ["off closed"]);
}

#[tokio::test]
async fn the_shortest_silence_that_a_cache_allows_counts_for_all() {
    let mut scene = Scene::new().await;
    let other: Arc<dyn Listener> = Arc::new(Recorder { silence_max: SILENCE / 4, ..Recorder::default() });
    let unused = Arc::new(Script { feeds: Mutex::default(), begins: Arc::clone(&scene.begins) });
    scene.hub.join(unused, pace(&scene.clock), &other);
    scene.send(beat(9)).await;
    scene.clock.advance(SILENCE / 4);
    assert_eq!(scene.settle().await, ["off silence"]);
}

/// A cache in TTL mode has a mapping, and no heartbeat need ever turn its tier on.
#[tokio::test]
async fn a_tier_without_heartbeats_is_cleared_when_messages_may_be_lost() {
    for mapping in [None, Some(MINE)] {
        let with = || Scene::with(Recorder { mapping, ..Recorder::default() });
        let mut gap = with().await;
        assert_eq!(gap.send(keys(0)).await, ["users:1"]);
        gap.sequence += 1;
        assert_eq!(gap.send(keys(0)).await, ["all"]);
        let mut publisher = with().await;
        assert_eq!(publisher.send(keys(9)).await, ["users:1"]);
        assert_eq!(publisher.send(keys(8)).await, ["users:1", "all"]);
        let connection = with().await;
        connection.feeds[0].send(Err(Error::new(ErrorKind::Unavailable, "gone"))).expect("a follower");
        assert_eq!(connection.settle().await, ["all"]);
        let mut closed = with().await;
        closed.hub = Hub::new();
        assert_eq!(closed.settle().await, ["all"]);
    }
}

/// A value may be put away while no reader is subscribed, and be invalidated by hand before the next one is.
#[tokio::test]
async fn what_was_kept_while_the_bus_was_not_read_is_cleared() {
    for mapping in [None, Some(MINE)] {
        let mut scene = Scene::with(Recorder { mapping, ..Recorder::default() }).await;
        scene.send(keys(0)).await;
        assert_eq!(scene.subscribe_again(SERVER, 1).await, ["all"], "at the loss, and nothing was published since");
        assert_eq!(scene.subscribe_again(SERVER, 2).await, ["all", "all"], "another message was published");
        let (_, first) = Scene::at(7, Recorder { mapping, ..Recorder::default() }).await;
        assert_eq!(first, ["all"], "messages may have come before the first subscription");
    }
    for (server, head) in [(ServerId(6), 1), (ServerId::UNKNOWN, 1), (SERVER, 0)] {
        let mut scene = Scene::new().await;
        scene.send(keys(0)).await;
        assert_eq!(scene.subscribe_again(server, head).await, ["all", "all"], "{server:?} {head}");
    }
}

/// Without an invalidator, and in TTL mode, there are no heartbeats: a tier that needs none would be of no use.
#[tokio::test]
async fn silence_clears_only_what_a_publisher_had_turned_on() {
    let mut scene = Scene::with(Recorder { mapping: None, ..Recorder::default() }).await;
    assert_eq!(scene.send(keys(0)).await, ["users:1"]);
    *scene.begins.lock().expect("unpoisoned") = (SERVER, 1);
    for _ in 0..4 {
        scene.clock.advance(SILENCE);
        assert!(scene.settle().await.is_empty());
    }
    // The first reader was replaced after the second silence, in the same place.
    scene.feeds.remove(0);
    assert_eq!(scene.send(keys(0)).await, ["users:1"]);
}

#[test]
fn a_follower_that_ended_with_its_runtime_is_replaced() {
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let first = runtime();
    let scene = first.block_on(Scene::new());
    drop(first);
    assert_eq!(scene.recorder.take(), ["all"], "nothing reads the bus");
    runtime().block_on(async {
        let (next, reader) = mpsc::unbounded_channel();
        *scene.begins.lock().expect("unpoisoned") = (SERVER, 1);
        let script = Script { feeds: Mutex::new([reader].into()), begins: Arc::clone(&scene.begins) };
        let keep = || scene.hub.keep_following(|| (Arc::new(script), pace(&scene.clock)));
        keep();
        scene.hub.keep_following(|| panic!("one is running"));
        assert_eq!(scene.settle().await, ["all"]);
        next.send(Ok(vec![BusRead { server: SERVER, sequence: 2, message: beat(9) }])).expect("a follower");
        assert_eq!(scene.settle().await, ["on 5", "handled a:1-3 0"]);
    });
}
