//! The scenes, in the order in which they are best read.

use crate::database::Server;
use crate::scene::{Act, Scene, Step};

/// Returns the scene of this name in URLs.
pub fn find(path: &str) -> Option<&'static Scene> {
    SCENES.iter().find(|scene| scene.path == path)
}

/// All scenes.
pub const SCENES: [Scene; 6] = [
    Scene {
        path: "overtaken",
        title: "A slow load puts the old value back",
        question: "A reader has read the row and is slow to store it. In between the row changes, and the change's event deletes \
                   the key. What does the slow reader store?",
        rule: ("Lease per attempt", "lease-per-attempt"),
        server: Server::Primary,
        steps: OVERTAKEN,
    },
    Scene {
        path: "visibility",
        title: "The event comes before the commit can be seen",
        question: "MySQL delivers a commit to log readers a moment before other sessions can see it. What does a reader load that \
                   asks between the delete and that moment?",
        rule: ("Visibility gate", "visibility-gate"),
        server: Server::Primary,
        steps: VISIBILITY,
    },
    Scene {
        path: "joining",
        title: "A reader joins a load that is too old",
        question: "To spare the database, readers of one key wait for one load. What does a reader get that asks after a \
                   change, and joins a load from before it?",
        rule: ("Joining", "joining"),
        server: Server::Primary,
        steps: JOINING,
    },
    Scene {
        path: "replica",
        title: "The replica is behind",
        question: "Loads read a replica, and the log comes from the primary. The event has deleted the key, and the replica has \
                   not executed the change yet. What does the next reader store?",
        rule: ("Fence", "fence"),
        server: Server::Replica,
        steps: REPLICA,
    },
    Scene {
        path: "own-write",
        title: "A writer does not see its own change",
        question: "A user saves a form and is shown the page again. The commit is done, and its event is on the way. Which \
                   name is on the page?",
        rule: ("Loaded values are judged", "loaded-values-are-judged"),
        server: Server::Primary,
        steps: OWN_WRITE,
    },
    Scene {
        path: "lost-log",
        title: "The log was purged before it was read",
        question: "The consumer is away for longer than the database keeps its log. Which keys have changed meanwhile? There is \
                   no telling. What does the consumer do when it is back?",
        rule: ("Flush order", "flush-order"),
        server: Server::Primary,
        steps: LOST_LOG,
    },
];

const fn step(act: Act, name: &'static str, naive: &'static str, cachefront: &'static str) -> Step {
    Step { act, name, naive, cachefront }
}

/// A step that is the same on both sides.
const fn both(act: Act, name: &'static str, text: &'static str) -> Step {
    step(act, name, text, text)
}

/// The first step of scenes that begin with a cached value.
const FILLED: Step = step(
    Act::Read('A'),
    "A reads",
    "Reader A finds no value in the cache, loads the row from the database and stores it.",
    "Reader A finds no value in the cache, takes a lease (the right to store this key once), loads the row and stores it.",
);

/// The first step of scenes with a slow load.
const SLOW: Step = step(
    Act::ReadHeld('A'),
    "A reads, slowly",
    "Reader A finds no value in the cache and loads the row from the database. It is slow: it has read the row, and has not \
     stored it yet.",
    "Reader A finds no value in the cache, takes a lease (the right to store this key once) and loads the row. It is slow: it \
     has read the row, and has not stored it yet.",
);

const CHANGED: Step = both(
    Act::Commit,
    "The row changes",
    "The writer changes the name in the database, and in the database only. Every other session sees the change at once. What \
     reader A has read is old now, and reader A does not know.",
);

const OVERTAKEN: &[Step] = &[
    SLOW,
    CHANGED,
    step(
        Act::Deliver,
        "The event comes",
        "The event of the change comes, and the consumer deletes the key. There is no value to delete yet, and no further event \
         will come for this change.",
        "The event of the change comes, and the invalidator removes the key, and the lease of reader A with it.",
    ),
    step(
        Act::Release,
        "A stores",
        "Reader A goes on and stores what it has read: the old name, after the delete that was meant for it.",
        "Reader A goes on and offers what it has read. The store refuses it, because the lease is gone. Reader A itself gets the \
         name that it has read, which was right when it asked.",
    ),
    step(
        Act::Read('B'),
        "B reads",
        "Reader B asks after all of that, and gets the old name from the cache. So does every other reader, until the entry \
         expires.",
        "Reader B finds no value in the cache, so it loads the row as it is now, and stores it.",
    ),
    step(
        Act::Read('C'),
        "C reads",
        "Reader C gets the old name too. Every event was handled, so no process will ever delete this entry.",
        "Reader C gets the new name from the cache.",
    ),
];

const VISIBILITY: &[Step] = &[
    FILLED,
    both(
        Act::CommitHidden,
        "The writer commits",
        "The writer commits a new name. The database writes the commit to its log first, where the consumer reads it. Other \
         sessions see the old row for a moment longer; with a replica that has to acknowledge, for as long as that takes.",
    ),
    step(
        Act::Deliver,
        "The event comes",
        "The event of the change comes, and the consumer deletes the key at once.",
        "The event of the change comes. The invalidator asks the database whether loaders can see the commit, and waits at the \
         gate, because they cannot. The entry stays.",
    ),
    step(
        Act::Read('B'),
        "B reads",
        "Reader B finds no value in the cache and loads the row. Its session cannot see the commit, so it loads the old name, \
         and stores it again.",
        "Reader B gets the old name from the cache. That is not wrong: no session of the database could read another one.",
    ),
    step(
        Act::Reveal,
        "The commit is visible",
        "Now every session can see the commit. No further event comes: the delete is done, and was too early.",
        "Now every session can see the commit. The gate opens, and only now the invalidator removes the key.",
    ),
    step(
        Act::Read('C'),
        "C reads",
        "Reader C gets the old name, and so does every reader until the entry expires.",
        "Reader C finds no value in the cache and loads the new name.",
    ),
];

const JOINING: &[Step] = &[
    SLOW,
    CHANGED,
    step(
        Act::Deliver,
        "The event comes",
        "The event of the change comes, and the consumer deletes the key. There is no value to delete yet.",
        "The event of the change comes, and the invalidator removes the key, and the lease of reader A with it.",
    ),
    step(
        Act::ReadDuringLoad('B'),
        "B asks",
        "Reader B asks now, after the change was handled. A load of the key is in progress, so reader B waits for it, and the \
         database is not asked twice.",
        "Reader B asks now, after the change was handled. The load in progress began before that, so reader B does not join it: \
         it loads by itself, under a lease of its own, and the new name is stored.",
    ),
    step(
        Act::Release,
        "The first load ends",
        "The load ends with the old name, and both readers get it. Reader B asked after the change and is shown the state before \
         it, and the old name is in the cache.",
        "The first load ends with the old name, and the store refuses it, because its lease is gone. Reader A takes it: it asked \
         before the change. The new name stays in the cache.",
    ),
    step(
        Act::Read('C'),
        "C reads",
        "Reader C gets the old name, and so does every reader until the entry expires.",
        "Reader C gets the new name from the cache.",
    ),
];

const REPLICA: &[Step] = &[
    step(
        Act::Read('A'),
        "A reads",
        "Reader A finds no value in the cache, loads the row from the replica and stores it.",
        "Reader A finds no value in the cache. Its load is given a fence: the commits that were handled so far, which the replica \
         must have. It has them, so the row is loaded and stored.",
    ),
    both(
        Act::Commit,
        "The row changes",
        "The writer changes the name on the primary. The replica has not executed the change yet.",
    ),
    step(
        Act::Deliver,
        "The event comes",
        "The event comes from the primary's log, and the consumer deletes the key.",
        "The event comes from the primary's log, and the invalidator removes the key. From now on, the fence of a load contains \
         this commit.",
    ),
    step(
        Act::Read('B'),
        "B reads",
        "Reader B finds no value in the cache, loads the row from the replica, which still has the old name, and stores it \
         again.",
        "Reader B loads. Its load waits half a second for the replica to reach the fence, then reads. The replica is still \
         behind, so reader B gets the old name, and the cache does not keep it.",
    ),
    both(Act::CatchUp, "The replica catches up", "The replica executes the change. It has the new name now."),
    step(
        Act::Read('C'),
        "C reads",
        "Reader C gets the old name from the cache, though both servers have the new one. So does every reader until the entry \
         expires.",
        "Reader C finds no value in the cache. The replica has reached the fence, so reader C loads the new name, and the cache \
         keeps it.",
    ),
];

const OWN_WRITE: &[Step] = &[
    FILLED,
    both(
        Act::Commit,
        "B saves",
        "User B saves a new name. The database commits it and says which commit it was. Its event is on the way to the consumer.",
    ),
    step(
        Act::ReadOwn('B'),
        "B is shown the page",
        "The page is made from the cache, where the old name still is. User B has just saved another one.",
        "The page is read with a token, which names the commit that it must contain. The cached value cannot prove that it \
         contains it, so the row is loaded.",
    ),
    step(
        Act::Deliver,
        "The event comes",
        "The event comes, and the consumer deletes the key. Until now every reader got the old name; how long that takes, \
         user B cannot know.",
        "The event comes. The value that was loaded already contains the commit, so it stays, and is not loaded twice.",
    ),
    step(
        Act::Read('C'),
        "C reads",
        "Reader C loads the new name. Here the naive cache is late, and not wrong for good.",
        "Reader C gets the new name from the cache.",
    ),
];

const LOST_LOG: &[Step] = &[
    FILLED,
    both(
        Act::Commit,
        "The row changes",
        "The writer changes the name. The consumer is away: its process, or its connection, is down.",
    ),
    both(
        Act::Purge,
        "The log is purged",
        "The consumer is away for longer than the database keeps its log. The event of this change is gone for good.",
    ),
    step(
        Act::Deliver,
        "The consumer is back",
        "The consumer is back. Its place in the log is gone, so it goes on from the end of the log. It never gets the event.",
        "The invalidator is back. Its place in the log is gone, so changes are lost, and there is no telling which. It gives the \
         cache a new generation: one number, and every entry from before is a miss.",
    ),
    step(
        Act::Read('B'),
        "B reads",
        "Reader B gets the old name, and so does every reader until the entry expires.",
        "Reader B finds an entry of another generation, which counts as none, and loads the new name.",
    ),
    step(
        Act::Read('C'),
        "C reads",
        "Reader C gets the old name too. No process knows that it is old.",
        "Reader C gets the new name from the cache.",
    ),
];
