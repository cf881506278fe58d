//! The races of the panel, step by step and on both sides: what every step shows, read from its page.

use cachefront_testkit::process::Launch;
use reqwest::Method;

use crate::panel::{Reader, panel_of, with_accounts};
use crate::world::{Place, World};

/// Each scene, and what its page shows after each step: the readers with what they have, what the cache has, the verdict, and how
/// many of the commits were handled.
const SCENES: [(&str, &[&str], &[&str]); 6] = [
    ("overtaken", OVERTAKEN.0, OVERTAKEN.1),
    ("visibility", VISIBILITY.0, VISIBILITY.1),
    ("joining", JOINING.0, JOINING.1),
    ("replica", REPLICA.0, REPLICA.1),
    ("own-write", OWN_WRITE.0, OWN_WRITE.1),
    ("lost-log", LOST_LOG.0, LOST_LOG.1),
];

/// What the naive cache shows, and what the library shows.
type Sides = (&'static [&'static str], &'static [&'static str]);

/// The first load is held, the change is handled meanwhile: the naive cache stores the old value, the library refuses it.
const OVERTAKEN: Sides = (
    &[
        "A held Ada; no value; empty; 1/1",
        "A held Ada; no value; empty; 1/2",
        "A held Ada; no value; empty; 2/2",
        "A database Ada; Ada; stale; 2/2",
        "A database Ada, B cache Ada wrong; Ada; stale; 2/2",
        "A database Ada, B cache Ada wrong, C cache Ada wrong; Ada; stale; 2/2",
    ],
    &[
        "A held Ada; lease; empty; 1/1",
        "A held Ada; lease; empty; 1/2",
        "A held Ada; no value; empty; 2/2",
        "A database Ada; no value; empty; 2/2",
        "A database Ada, B database Ada King; Ada King; current; 2/2",
        "A database Ada, B database Ada King, C cache Ada King; Ada King; current; 2/2",
    ],
);

/// The commit is hidden when its event comes: the naive cache deletes too early, the library waits at the gate.
const VISIBILITY: Sides = (
    &[
        "A database Ada; Ada; current; 1/1",
        "A database Ada; Ada; pending; 1/2",
        "A database Ada; no value; empty; 2/2",
        "A database Ada, B database Ada; Ada; stale; 2/2",
        "A database Ada, B database Ada; Ada; stale; 2/2",
        "A database Ada, B database Ada, C cache Ada wrong; Ada; stale; 2/2",
    ],
    &[
        "A database Ada; Ada; current; 1/1",
        "A database Ada; Ada; pending; 1/2",
        "A database Ada; Ada; pending; 1/2 at the gate",
        "A database Ada, B cache Ada; Ada; pending; 1/2 at the gate",
        "A database Ada, B cache Ada; no value; empty; 2/2",
        "A database Ada, B cache Ada, C database Ada King; Ada King; current; 2/2",
    ],
);

/// A reader asks after the change, while a load from before it is in progress: with the naive cache it waits for that load and gets
/// the old value, with the library it loads by itself.
const JOINING: Sides = (
    &[
        "A held Ada; no value; empty; 1/1",
        "A held Ada; no value; empty; 1/2",
        "A held Ada; no value; empty; 2/2",
        "A held Ada, B waiting; no value; empty; 2/2",
        "A database Ada, B database Ada wrong; Ada; stale; 2/2",
        "A database Ada, B database Ada wrong, C cache Ada wrong; Ada; stale; 2/2",
    ],
    &[
        "A held Ada; lease; empty; 1/1",
        "A held Ada; lease; empty; 1/2",
        "A held Ada; no value; empty; 2/2",
        "A held Ada, B database Ada King; Ada King; current; 2/2",
        "A database Ada, B database Ada King; Ada King; current; 2/2",
        "A database Ada, B database Ada King, C cache Ada King; Ada King; current; 2/2",
    ],
);

/// The replica lacks the change: both give the old value out, and only the naive cache keeps it.
const REPLICA: Sides = (
    &[
        "A database Ada; Ada; current; 1/1",
        "A database Ada; Ada; pending; 1/2",
        "A database Ada; no value; empty; 2/2",
        "A database Ada, B database Ada wrong; Ada; stale; 2/2",
        "A database Ada, B database Ada wrong; Ada; stale; 2/2",
        "A database Ada, B database Ada wrong, C cache Ada wrong; Ada; stale; 2/2",
    ],
    &[
        "A database Ada; Ada; current; 1/1",
        "A database Ada; Ada; pending; 1/2",
        "A database Ada; no value; empty; 2/2",
        "A database Ada, B database Ada wrong; no value; empty; 2/2",
        "A database Ada, B database Ada wrong; no value; empty; 2/2",
        "A database Ada, B database Ada wrong, C database Ada King; Ada King; current; 2/2",
    ],
);

/// A writer reads its own change before the event comes: with a token it gets it.
const OWN_WRITE: Sides = (
    &[
        "A database Ada; Ada; current; 1/1",
        "A database Ada; Ada; pending; 1/2",
        "A database Ada, B cache Ada wrong; Ada; pending; 1/2",
        "A database Ada, B cache Ada wrong; no value; empty; 2/2",
        "A database Ada, B cache Ada wrong, C database Ada King; Ada King; current; 2/2",
    ],
    &[
        "A database Ada; Ada; current; 1/1",
        "A database Ada; Ada; pending; 1/2",
        "A database Ada, B database Ada King; Ada King; current; 1/2",
        "A database Ada, B database Ada King; Ada King; current; 2/2",
        "A database Ada, B database Ada King, C cache Ada King; Ada King; current; 2/2",
    ],
);

/// The event was purged before it was read: the naive consumer never knows, the library flushes everything.
const LOST_LOG: Sides = (
    &[
        "A database Ada; Ada; current; 1/1",
        "A database Ada; Ada; pending; 1/2",
        "A database Ada; Ada; pending; 1/2",
        "A database Ada; Ada; stale; 2/2",
        "A database Ada, B cache Ada wrong; Ada; stale; 2/2",
        "A database Ada, B cache Ada wrong, C cache Ada wrong; Ada; stale; 2/2",
    ],
    &[
        "A database Ada; Ada; current; 1/1",
        "A database Ada; Ada; pending; 1/2",
        "A database Ada; Ada; pending; 1/2",
        "A database Ada; no value; empty; 2/2",
        "A database Ada, B database Ada King; Ada King; current; 2/2",
        "A database Ada, B database Ada King, C cache Ada King; Ada King; current; 2/2",
    ],
);

/// Sentences that a page must have after a step: the scene, the side, the step, and a part of what was observed.
const OBSERVED: [(&str, &str, usize, &str); 8] = [
    ("overtaken", "naive", 4, "The cache stored &quot;Ada&quot;, as reader A loaded it."),
    ("overtaken", "cachefront", 4, "The cache refused &quot;Ada&quot;, as reader A loaded it: its lease is gone."),
    ("visibility", "cachefront", 3, "The event of commit 2 waits at the gate."),
    ("visibility", "naive", 3, "Handled up to commit 2."),
    ("joining", "cachefront", 4, "The cache stored &quot;Ada King&quot;, as reader B loaded it."),
    ("replica", "naive", 4, "The cache stored &quot;Ada&quot;, as reader B loaded it."),
    ("replica", "cachefront", 4, "as reader B loaded it: the replica lacks what was invalidated."),
    ("lost-log", "cachefront", 4, "Everything was flushed: no entry of before is served."),
];

/// The text of an attribute of the first element that has it.
fn attribute<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let (_, rest) = text.split_once(&format!(" {name}=\""))?;
    rest.split('"').next()
}

/// One line of [`SCENES`], from a page.
fn summary(page: &str) -> String {
    let reader = |element: &str| {
        let element = element.split('>').next().unwrap_or_default();
        let element = format!(" data-reader=\"{element}");
        let of = |name| attribute(&element, name).unwrap_or_default();
        let wrong = if element.contains(" data-wrong") { " wrong" } else { "" };
        format!("{} {} {}", of("data-reader"), of("data-state"), of("data-value")).trim_end().to_owned() + wrong
    };
    let readers: Vec<String> = page.split(" data-reader=\"").skip(1).map(reader).collect();
    let cached = match attribute(page, "data-cached").expect("what the cache has") {
        "" if page.contains(" data-leased") => "lease",
        "" => "no value",
        value => value,
    };
    let of = |name| attribute(page, name).expect("an attribute");
    let gate = if page.contains(" data-at-gate") { " at the gate" } else { "" };
    let log = format!("{}/{}", of("data-handled"), of("data-committed"));
    format!("{}; {cached}; {}; {log}{gate}", readers.join(", "), of("data-outcome"))
}

async fn start(configure: impl FnOnce(Launch) -> Launch) -> World {
    World::start(Place::Embedded, |launch| configure(with_accounts(launch))).await
}

#[tokio::test(flavor = "multi_thread")]
async fn every_step_of_every_race_shows_what_has_happened() {
    let world = start(|launch| launch).await;
    // A viewer may play: it changes nothing but a world of its own.
    let viewer = Reader::log_in(&panel_of(&world), "viewer", "v secret").await;
    for (scene, naive, cachefront) in SCENES {
        for (side, expected) in [("naive", naive), ("cachefront", cachefront)] {
            for (at, expected) in expected.iter().enumerate() {
                let url = format!("/race/{scene}?side={side}&step={}", at + 1);
                let page = viewer.get(&url).await;
                assert_eq!(page.status, 200, "{url}: {}", page.text);
                assert_eq!(summary(&page.text), *expected, "{url}");
                for (_, _, _, sentence) in
                    OBSERVED.iter().filter(|(of, on, step, _)| (*of, *on, *step) == (scene, side, at + 1))
                {
                    assert!(page.text.contains(sentence), "{url}: {sentence}");
                }
            }
            let last = viewer.get(&format!("/race/{scene}?side={side}&step=99")).await.text;
            assert_eq!(
                attribute(&last, "data-step"),
                attribute(&last, "data-steps"),
                "beyond the last step is the last one"
            );
        }
    }
}

/// Another session has played no step: its first request plays all of them.
#[tokio::test(flavor = "multi_thread")]
async fn the_url_of_a_step_shows_the_same_to_another_user() {
    let world = start(|launch| launch).await;
    let panel = panel_of(&world);
    for (scene, naive, cachefront) in SCENES {
        for (side, expected) in [("naive", naive), ("cachefront", cachefront)] {
            let other = Reader::log_in(&panel, "operator", "o secret").await;
            for at in [expected.len() - 1, 3] {
                let url = format!("/race/{scene}?side={side}&step={}", at + 1);
                assert_eq!(summary(&other.get(&url).await.text), expected[at], "{url}");
            }
        }
    }
    let list = Reader::log_in(&panel, "viewer", "v secret").await.get("/race").await.text;
    for (scene, _, _) in SCENES {
        assert!(list.contains(&format!("/race/{scene}?side=cachefront&amp;step=0")), "{scene}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shared_url_is_shown_after_the_login_and_no_other_place() {
    let world = start(|launch| launch.env("CACHEFRONT_UI_READ_ONLY", "true")).await;
    let panel = panel_of(&world);
    let url = "/race/overtaken?side=naive&step=4";
    let refused = panel.get_with(url, ("accept", "text/html")).await;
    assert_eq!(refused.status, 303);
    let login = refused.header("location").to_owned();
    assert_eq!(login, "/login?next=/race/overtaken%3Fside%3Dnaive%26step%3D4");
    assert!(panel.get(&login).await.text.contains("name=\"next\" value=\"/race/overtaken?side=naive&amp;step=4\""));
    for (next, leads_to) in [(url, url), ("//example.org/race/", "/"), ("/race/\r\nx: y", "/"), ("/users/1/read", "/")]
    {
        let form = [("name", "viewer"), ("password", "v secret"), ("next", next)];
        let body = form.map(|(name, value)| format!("{name}={}", encoded(value))).join("&");
        let request = panel.request(Method::POST, "/login").header("origin", &panel.base).body(body);
        let answer = panel.send(request.header("content-type", "application/x-www-form-urlencoded")).await;
        assert_eq!((answer.status.as_u16(), answer.header("location")), (303, leads_to), "{next:?}");
    }
    let viewer = Reader::log_in(&panel, "viewer", "v secret").await;
    assert_eq!(viewer.get(url).await.status, 200, "a panel that is read-only shows races");
    assert_eq!(viewer.get("/race/unknown").await.status, 404);
}

/// What happens in a race is no event of the program: its changes are lost on purpose.
#[tokio::test(flavor = "multi_thread")]
async fn a_race_is_not_in_the_metrics_and_not_in_the_log() {
    let world = start(|launch| launch).await;
    let before = world.api.get("/metrics").await.text;
    let viewer = Reader::log_in(&panel_of(&world), "viewer", "v secret").await;
    let page = viewer.get("/race/lost-log?side=cachefront&step=6").await.text;
    assert_eq!(attribute(&page, "data-outcome"), Some("current"));
    let after = world.api.get("/metrics").await.text;
    let lost =
        |text: &str| text.lines().filter(|line| line.contains("reason=\"gap\"")).map(str::to_owned).collect::<Vec<_>>();
    assert_eq!(lost(&after), lost(&before));
    assert!(after.contains("cache=\"users\"") && !after.contains("cache=\"race\""), "{after}");
    assert!(!world.simulator.log().contains("changes were lost"), "{}", world.simulator.log());
}

fn encoded(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02X}")).collect()
}
