//! A server that responds as the API does, without any data, and freezes on request: for tests of the load generator.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::json;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio::time::Instant;

/// The stall begins this long after the first read of a row.
const CALM: Duration = Duration::from_secs(1);

/// A running stub; dropping it ends it.
pub(crate) struct Stub {
    addr: SocketAddr,
    shared: Arc<Shared>,
    serving: JoinHandle<()>,
}

struct Shared {
    /// How long it freezes, once.
    stall: Option<Duration>,
    first_read: Mutex<Option<Instant>>,
    rows: Mutex<u64>,
    /// Requests for single rows, in the order of their arrival.
    requests: Mutex<Vec<String>>,
}

impl Drop for Stub {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl Stub {
    pub(crate) async fn start(stall: Option<Duration>) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a port");
        let addr = listener.local_addr().expect("an address");
        let shared = Arc::new(Shared {
            stall,
            first_read: Mutex::default(),
            rows: Mutex::default(),
            requests: Mutex::default(),
        });
        let served = Arc::clone(&shared);
        let serving = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, Arc::clone(&served)));
            }
        });
        Self { addr, shared, serving }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.addr)
    }

    pub(crate) fn requests(&self) -> Vec<String> {
        self.shared.requests.lock().expect("no holder of this lock panics").clone()
    }

    /// As if it had just been started: the next rows get the same ids.
    pub(crate) fn forget(&self) {
        self.shared.requests.lock().expect("no holder of this lock panics").clear();
        *self.shared.rows.lock().expect("no holder of this lock panics") = 0;
    }
}

async fn serve(stream: TcpStream, shared: Arc<Shared>) {
    let mut stream = BufReader::new(stream);
    loop {
        let (mut first, mut length) = (String::new(), 0);
        if stream.read_line(&mut first).await.unwrap_or(0) == 0 {
            return;
        }
        loop {
            let mut line = String::new();
            if stream.read_line(&mut line).await.unwrap_or(0) <= 2 {
                break;
            }
            let line = line.to_ascii_lowercase();
            if let Some(value) = line.strip_prefix("content-length:") {
                length = value.trim().parse().expect("a length");
            }
        }
        let mut body = vec![0; length];
        if stream.read_exact(&mut body).await.is_err() {
            return;
        }
        let mut words = first.split(' ');
        let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        let (status, text) = answer(&shared, method, path).await;
        let head =
            format!("HTTP/1.1 {status} X\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n", text.len());
        if stream.write_all(format!("{head}{text}").as_bytes()).await.is_err() {
            return;
        }
    }
}

async fn answer(shared: &Shared, method: &str, path: &str) -> (u16, String) {
    let user = |id: u64| json!({ "id": id, "name": "stub", "email": format!("{id}@example.org") }).to_string();
    match (method, path) {
        ("GET", "/mode") => (200, json!({ "mode": "cdc", "version": 1 }).to_string()),
        ("GET", path) if path.starts_with("/users?") => (200, "[]".to_owned()),
        ("POST", "/users") => {
            let mut rows = shared.rows.lock().expect("no holder of this lock panics");
            *rows += 1;
            (201, user(*rows))
        }
        ("GET" | "PUT", path) if path.starts_with("/users/") => {
            let request = format!("{method} {path}");
            shared.requests.lock().expect("no holder of this lock panics").push(request);
            stand_still(shared).await;
            (200, user(path.rsplit('/').next().and_then(|id| id.parse().ok()).unwrap_or(0)))
        }
        _ => (404, json!({ "detail": "Not Found" }).to_string()),
    }
}

/// Waits for the end of the stall, if there is one now.
async fn stand_still(shared: &Shared) {
    let Some(stall) = shared.stall else { return };
    let first = *shared.first_read.lock().expect("no holder of this lock panics").get_or_insert_with(Instant::now);
    let begin = first + CALM;
    if (begin..begin + stall).contains(&Instant::now()) {
        // sleep: the stall is what the server is for.
        tokio::time::sleep_until(begin + stall).await;
    }
}
