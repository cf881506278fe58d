//! Elections of a primary that only a Sentinel under the test's control can time.

use std::sync::Arc;
use std::sync::atomic::{AtomicU16, AtomicUsize, Ordering};
use std::time::Duration;

use cachefront_core::store::Store;
use cachefront_redis::RedisStore;
use cachefront_testkit::server::redis::Redis;
use cachefront_testkit::{unique, wait};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use crate::connection::key;

const WAIT: Duration = Duration::from_secs(30);

/// A Sentinel that names the primary that the test wants, and announces an election when the test wants it.
struct FakeSentinel {
    port: u16,
    said: Arc<Said>,
}

struct Said {
    primary: AtomicU16,
    /// How often the primary was asked for.
    asked: AtomicUsize,
    /// The number of elections.
    elections: watch::Sender<u64>,
}

impl FakeSentinel {
    async fn start(primary: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let said = Arc::new(Said {
            primary: AtomicU16::new(primary),
            asked: AtomicUsize::new(0),
            elections: watch::Sender::new(0),
        });
        let to_serve = Arc::clone(&said);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                // It ends with the connection.
                tokio::spawn(serve(stream, Arc::clone(&to_serve)));
            }
        });
        Self { port, said }
    }

    /// Waits until the primary was asked for this often.
    async fn asked(&self, times: usize) {
        let asked = async || self.said.asked.load(Ordering::SeqCst) >= times;
        wait::until_async("the Sentinel is asked", WAIT, asked).await;
    }

    fn elect(&self, primary: u16) {
        self.said.primary.store(primary, Ordering::SeqCst);
        self.said.elections.send_modify(|elections| *elections += 1);
    }
}

async fn serve(stream: TcpStream, said: Arc<Said>) -> std::io::Result<()> {
    let (reader, mut writer) = stream.into_split();
    let (mut lines, mut elections) = (BufReader::new(reader).lines(), said.elections.subscribe());
    let mut words = Vec::new();
    let (mut left, mut subscribed) = (0_usize, false);
    loop {
        tokio::select! {
            line = lines.next_line() => {
                let Some(line) = line? else { return Ok(()) };
                match (line.strip_prefix('*'), line.starts_with('$')) {
                    (Some(count), _) => left = count.parse().unwrap_or_default(),
                    (None, true) => continue,
                    (None, false) => {
                        words.push(line.to_ascii_uppercase());
                        left -= 1;
                    }
                }
                if left == 0 {
                    subscribed |= words.first().is_some_and(|word| word == "SUBSCRIBE");
                    writer.write_all(said.reply(&words).as_bytes()).await?;
                    words.clear();
                }
            }
            _ = elections.changed(), if subscribed => {
                writer.write_all(b"*3\r\n$7\r\nmessage\r\n$14\r\n+switch-master\r\n$4\r\nshop\r\n").await?;
            }
        }
    }
}

impl Said {
    fn reply(&self, words: &[String]) -> String {
        match words.iter().map(String::as_str).collect::<Vec<_>>()[..] {
            ["SENTINEL", "GET-MASTER-ADDR-BY-NAME", _] => {
                let port = self.primary.load(Ordering::SeqCst).to_string();
                self.asked.fetch_add(1, Ordering::SeqCst);
                format!("*2\r\n$9\r\n127.0.0.1\r\n${}\r\n{port}\r\n", port.len())
            }
            ["SENTINEL", "MASTER", _] => "*2\r\n$12\r\nconfig-epoch\r\n$1\r\n1\r\n".to_owned(),
            ["SUBSCRIBE", _] => "*3\r\n$9\r\nsubscribe\r\n$14\r\n+switch-master\r\n:1\r\n".to_owned(),
            _ => "+OK\r\n".to_owned(),
        }
    }
}

/// While readers reconnect to the server that the Sentinel named, another one is elected. No further message says so.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_election_during_a_reconnect_is_not_missed() {
    let (mut former, elected) = (Redis::start().await, Redis::start().await);
    let sentinel = FakeSentinel::start(former.port()).await;
    let builder = RedisStore::builder(&format!("redis+sentinel://127.0.0.1:{}/shop", sentinel.port));
    let builder = builder.namespace(unique::namespace()).response_timeout(Duration::from_millis(300));
    // Time to go on with the former server once the election was announced.
    let store = builder.connect_timeout(Duration::from_secs(10)).connect().await.expect("a store");
    let before = store.get(&key(1)).await.expect("a reading").server;
    // By the connection, and by the subscription.
    sentinel.asked(2).await;
    former.freeze();
    wait::until_async("the loss is noticed", WAIT, async || store.get(&key(1)).await.is_err()).await;
    sentinel.asked(3).await;
    sentinel.elect(elected.port());
    sentinel.asked(4).await;
    former.resume();
    wait::until_async("readers are on the elected server", WAIT, async || {
        store.get(&key(1)).await.is_ok_and(|reading| !reading.server.is_same(before))
    })
    .await;
}
