//! A Chromium of one test's own.

use std::path::PathBuf;
use std::process::Command;
use std::sync::Mutex;
use std::time::Duration;

use cachefront_testkit::server::{Process, temporary_dir};
use cachefront_testkit::stack::workspace_root;
use cachefront_testkit::{port, processes, wait};
use fantoccini::wd::Capabilities;
use fantoccini::{Client, ClientBuilder, Locator};
use hyper_util::client::legacy::connect::HttpConnector;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::sync::{Semaphore, SemaphorePermit};

/// How long anything healthy may take, also on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// How long the processes of a browser may take to end once they are killed.
const END: Duration = Duration::from_secs(10);

/// The variable that names the folder for temporary files.
const FOLDER: &str = "TMPDIR";

/// Maximum number of browsers at a time.
static BROWSERS: Semaphore = Semaphore::const_new(2);

const FLAGS: [&str; 9] = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
];

/// A browser with one session. Dropping it kills both.
pub(crate) struct Chrome {
    pub(crate) client: Client,
    http: reqwest::Client,
    base: String,
    /// The system's colours, as they were last chosen.
    colours: Mutex<&'static str>,
    // Ends before its folder is removed.
    _driver: Driver,
    _dir: TempDir,
    _permit: SemaphorePermit<'static>,
}

/// The program that drives the browser. Dropping the value kills it with the browser and all that this has started: the
/// driver by itself leaves its browser running.
struct Driver {
    process: Process,
    /// The folder of this driver, which is in the environment of everything that it starts.
    dir: PathBuf,
}

impl Drop for Driver {
    fn drop(&mut self) {
        let (id, dir) = (self.process.id(), self.dir.display().to_string());
        // The browser's processes overwrite their environment, and its crash handlers leave their parents.
        let find = || [processes::family(id), processes::marked(FOLDER, &dir)].concat();
        let left = processes::kill_all(find, END);
        if !left.is_empty() {
            eprintln!("these processes of a browser do not end: {left:?}");
        }
    }
}

impl Chrome {
    /// Starts a browser whose window has this size.
    pub(crate) async fn start(width: u32, height: u32) -> Self {
        let permit = BROWSERS.acquire().await.expect("never closed");
        let dir = temporary_dir("browser");
        let port = port::free();
        let mut command = Command::new("chromedriver");
        command.arg(format!("--port={port}")).arg("--log-level=WARNING").env(FOLDER, dir.path());
        let process = Process::start("chromedriver", command, dir.path())
            .expect("chromedriver is installed (Debian: apt-get install chromium chromium-driver)");
        let mut driver = Driver { process, dir: dir.path().to_owned() };
        let base = format!("http://127.0.0.1:{port}");
        let http = reqwest::Client::builder().no_proxy().build().expect("a client");
        wait::until_async("chromedriver is ready", PATIENCE, async || {
            assert!(driver.process.is_running(), "chromedriver ended: {}", driver.process.log_tail());
            http.get(format!("{base}/status")).send().await.is_ok_and(|answer| answer.status().is_success())
        })
        .await;
        let flags: Vec<String> = FLAGS.iter().map(ToString::to_string).collect();
        let profile = format!("--user-data-dir={}", dir.path().join("profile").display());
        let flags: Vec<String> =
            flags.into_iter().chain([profile, format!("--window-size={width},{height}")]).collect();
        let mut wanted = Capabilities::new();
        wanted.insert("goog:chromeOptions".into(), json!({ "args": flags }));
        wanted.insert("goog:loggingPrefs".into(), json!({ "browser": "ALL" }));
        let connector = HttpConnector::new();
        let client =
            ClientBuilder::new(connector).capabilities(wanted).connect(&base).await.expect("a browser session");
        let colours = Mutex::new("light");
        let chrome = Self { client, http, base, colours, _driver: driver, _dir: dir, _permit: permit };
        chrome.resize(width, height).await;
        chrome
    }

    /// A command that only this browser knows.
    async fn extra(&self, path: &str, body: &Value) -> Value {
        let session = self.client.session_id().await.expect("a session").expect("a session");
        let request = self.http.post(format!("{}/session/{session}/{path}", self.base)).json(body);
        let answer: Value = request.send().await.expect("an answer").json().await.expect("JSON");
        assert!(answer["value"]["error"].is_null(), "{answer}");
        answer["value"].clone()
    }

    async fn devtools(&self, command: &str, parameters: Value) -> Value {
        self.extra("goog/cdp/execute", &json!({ "cmd": command, "params": parameters })).await
    }

    /// The page is as wide and high as this, as on a device without scroll bars.
    pub(crate) async fn resize(&self, width: u32, height: u32) {
        let metrics = json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 720 });
        self.devtools("Emulation.setDeviceMetricsOverride", metrics).await;
    }

    /// The system's colours.
    pub(crate) async fn dark(&self, dark: bool) {
        *self.colours.lock().expect("never poisoned") = if dark { "dark" } else { "light" };
        self.media("no-preference").await;
    }

    /// The system's colours, and whether it wants things to move.
    async fn media(&self, motion: &str) {
        let colours = *self.colours.lock().expect("never poisoned");
        let features = [("prefers-color-scheme", colours), ("prefers-reduced-motion", motion)];
        let features = features.map(|(name, value)| json!({ "name": name, "value": value }));
        self.devtools("Emulation.setEmulatedMedia", json!({ "features": features })).await;
    }

    /// Everything that the browser complained about since the last call: errors of scripts, the content policy, loads.
    pub(crate) async fn complaints(&self) -> Vec<String> {
        let log = self.extra("se/log", &json!({ "type": "browser" })).await;
        let lines = log.as_array().expect("a log").iter();
        lines.map(|line| format!("{}: {}", line["level"], line["message"])).collect()
    }

    pub(crate) async fn goto(&self, url: &str) {
        self.client.goto(url).await.expect("the page");
    }

    /// Runs a script in the page and returns its result.
    pub(crate) async fn run(&self, script: &str) -> Value {
        self.client.execute(script, Vec::new()).await.unwrap_or_else(|error| panic!("{script}: {error}"))
    }

    /// The text of the first element; empty if there is none.
    pub(crate) async fn text(&self, selector: &str) -> String {
        let script = "return document.querySelector(arguments[0])?.innerText ?? ''";
        let text = self.client.execute(script, vec![json!(selector)]).await.expect("a text");
        text.as_str().unwrap_or_default().to_owned()
    }

    /// Clicks as a person does: the element has to be there and not covered.
    pub(crate) async fn click(&self, selector: &str) {
        let what = format!("{selector} can be clicked");
        wait::until_async(&what, PATIENCE, async || match self.client.find(Locator::Css(selector)).await {
            Ok(element) => element.is_enabled().await.unwrap_or(false) && element.click().await.is_ok(),
            Err(_) => false,
        })
        .await;
    }

    /// Types into the focused element.
    pub(crate) async fn press(&self, keys: &str) {
        let focused = self.client.active_element().await.expect("a focused element");
        focused.send_keys(keys).await.expect("typed");
    }

    pub(crate) async fn title_is(&self, title: &str, within: Duration) {
        let mut last = String::new();
        let what = format!("the title says {title:?}");
        let wanted = format!("{title} · cachefront");
        wait::until_async(&what, within, async || {
            last = self.client.title().await.unwrap_or_default();
            last == wanted
        })
        .await;
    }

    pub(crate) async fn shows(&self, selector: &str, text: &str, within: Duration) {
        let what = format!("{selector} shows {text:?}");
        wait::until_async(&what, within, async || self.text(selector).await.contains(text)).await;
    }

    /// Waits until an element matches that is shown: its state, and not its words.
    pub(crate) async fn has(&self, selector: &str, within: Duration) {
        let script = "return [...document.querySelectorAll(arguments[0])].some((one) => one.checkVisibility())";
        wait::until_async(&format!("{selector} is there"), within, async || {
            self.client.execute(script, vec![json!(selector)]).await.expect("a script") == true
        })
        .await;
    }

    /// Keeps a picture of what the window shows, without anything that is about to fade.
    pub(crate) async fn screenshot(&self, name: &str) -> PathBuf {
        let dir = workspace_root().join("target/screenshots");
        std::fs::create_dir_all(&dir).expect("a folder");
        self.media("reduce").await;
        // What was fading is drawn as it will be, in the second frame at the latest.
        let frames = "const done = arguments[0]; requestAnimationFrame(() => requestAnimationFrame(() => done(1)))";
        self.client.execute_async(frames, Vec::new()).await.expect("two frames");
        let picture = self.client.screenshot().await.expect("a picture");
        self.media("no-preference").await;
        let file = dir.join(format!("{name}.png"));
        std::fs::write(&file, picture).expect("written");
        file
    }
}
