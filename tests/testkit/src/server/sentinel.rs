//! Sentinels of one test's own, which fail over a primary of its own.

use std::{fs, path::Path, process::Command, time::Duration};

use super::private::{Private, Spec};
use super::redis::{Redis, raw_command};
use super::tls;
use crate::{port, stack, wait};

/// How long a group may take until its Sentinels know each other and the replicas.
const KNOWN: Duration = Duration::from_secs(20);

/// How a private Sentinel is started.
#[derive(Debug)]
pub struct SentinelSpec {
    port: u16,
}

impl Spec for SentinelSpec {
    const NAME: &'static str = "sentinel";
    const START: Duration = Duration::from_secs(20);
    const STOP: Duration = Duration::from_secs(20);

    fn command(&self, dir: &Path) -> Command {
        let mut command = Command::new(stack::redis_server());
        command.arg(dir.join("sentinel.conf")).arg("--sentinel");
        command
    }

    async fn is_ready(&self, _dir: &Path, pid: u32) -> bool {
        let reply = raw_command(self.port, "INFO server").await.unwrap_or_default();
        reply.contains(&format!("process_id:{pid}\r\n")) || reply.starts_with("-NOAUTH")
    }
}

/// A private Sentinel. It keeps what it knows over a restart.
pub type Sentinel = Private<SentinelSpec>;

impl Sentinel {
    /// Starts a Sentinel with these further lines in its file.
    async fn start(lines: &[String]) -> Self {
        Self::launch(|dir| {
            let port = port::free();
            let dir_line = format!("dir {}", dir.display());
            let first = ["bind 127.0.0.1".to_owned(), format!("port {port}"), dir_line];
            let text: Vec<String> = first.into_iter().chain(lines.iter().cloned()).collect();
            fs::write(dir.join("sentinel.conf"), text.join("\n") + "\n").expect("a file for the Sentinel");
            SentinelSpec { port }
        })
        .await
    }

    /// The port, the same over restarts.
    pub fn port(&self) -> u16 {
        self.spec.port
    }

    /// Sends one inline command and returns the first part of the raw reply.
    ///
    /// # Errors
    /// If the Sentinel does not reply.
    pub async fn command(&self, line: &str) -> std::io::Result<String> {
        raw_command(self.spec.port, line).await
    }
}

/// A primary, its replicas, and three Sentinels that monitor it by the name `shop`.
#[derive(Debug)]
pub struct SentinelGroup {
    /// The Sentinels.
    pub sentinels: Vec<Sentinel>,
    /// The servers; the first one is the first primary.
    pub servers: Vec<Redis>,
    /// The ports for TLS of the servers, then of the Sentinels, if they have any.
    tls_ports: Vec<u16>,
}

impl SentinelGroup {
    /// The name of the primary.
    pub const NAME: &'static str = "shop";

    /// Starts them, and waits until the Sentinels know each other and the replicas. `server` and `sentinel` are further
    /// arguments of servers and lines of the Sentinels' files.
    ///
    /// # Panics
    /// If that takes too long.
    pub async fn start(replicas: usize, server: &[&str], sentinel: &[&str]) -> Self {
        let arguments = ["--repl-diskless-sync-delay", "0", "--repl-ping-replica-period", "1"];
        let arguments: Vec<&str> = arguments.iter().chain(server).copied().collect();
        let mut servers = vec![Redis::start_with(&arguments).await];
        for _ in 0..replicas {
            let primary = format!("127.0.0.1 {}", servers[0].port());
            let of = ["--replicaof", &primary];
            servers.push(Redis::start_with(&[&arguments[..], &of[..]].concat()).await);
        }
        let lines = Self::monitored(&format!("127.0.0.1 {}", servers[0].port()), sentinel);
        let mut sentinels = Vec::new();
        for _ in 0..3 {
            sentinels.push(Sentinel::start(&lines).await);
        }
        Self { sentinels, servers, tls_ports: Vec::new() }
    }

    /// The same over TLS, under the host name that the certificates have.
    ///
    /// # Panics
    /// If that takes too long.
    pub async fn start_with_tls(replicas: usize, server: &[&str], sentinel: &[&str]) -> Self {
        let (mut servers, mut tls_ports) = (Vec::<Redis>::new(), Vec::new());
        for _ in 0..=replicas {
            let port = port::free();
            let primary = format!("localhost {}", tls_ports.first().unwrap_or(&port));
            let of = ["--replicaof", &primary];
            let tls = tls::arguments(port);
            let arguments =
                ["--repl-diskless-sync-delay", "0", "--repl-ping-replica-period", "1", "--replica-announce-ip"];
            let arguments = arguments.into_iter().chain(["localhost"]).chain(tls.iter().map(String::as_str));
            let of = of.into_iter().filter(|_| !servers.is_empty());
            servers
                .push(Redis::start_with(&arguments.chain(of).chain(server.iter().copied()).collect::<Vec<_>>()).await);
            tls_ports.push(port);
        }
        let names = ["sentinel resolve-hostnames yes", "sentinel announce-hostnames yes"].map(str::to_owned);
        let monitored = Self::monitored(&format!("localhost {}", tls_ports[0]), sentinel);
        let mut sentinels = Vec::new();
        for _ in 0..3 {
            let port = port::free();
            let tls = tls::settings(port).into_iter().map(|(name, value)| format!("{name} {value}"));
            sentinels
                .push(Sentinel::start(&tls.chain(names.clone()).chain(monitored.clone()).collect::<Vec<_>>()).await);
            tls_ports.push(port);
        }
        Self { sentinels, servers, tls_ports }
    }

    /// The lines of a Sentinel's file about the primary at this address, and further ones.
    fn monitored(primary: &str, further: &[&str]) -> Vec<String> {
        let name = Self::NAME;
        let settings = ["down-after-milliseconds 500", "failover-timeout 3000", "parallel-syncs 1"].map(|setting| {
            let (key, value) = setting.split_once(' ').expect("a key and a value");
            format!("sentinel {key} {name} {value}")
        });
        let lines = [format!("sentinel monitor {name} {primary} 2")].into_iter().chain(settings);
        lines.chain(further.iter().map(|line| (*line).to_owned())).collect()
    }

    /// The URL `rediss+sentinel://…` of all Sentinels, with a login that is the same for servers and Sentinels.
    pub fn tls_url(&self, user: &str, password: &str) -> String {
        let ports = &self.tls_ports[self.servers.len()..];
        let hosts: Vec<String> = ports.iter().map(|port| format!("localhost:{port}")).collect();
        format!(
            "rediss+sentinel://{user}:{password}@{}/{}?sentinel_user={user}&sentinel_password={password}",
            hosts.join(","),
            Self::NAME
        )
    }

    /// Waits until every Sentinel knows the others and all replicas. The Sentinels must need no password.
    ///
    /// # Panics
    /// If that takes too long.
    pub async fn complete(self) -> Self {
        let replicas = format!("num-slaves\r\n$1\r\n{}\r\n", self.servers.len() - 1);
        wait::until_async("the Sentinels know each other and the replicas", KNOWN, async || {
            for sentinel in &self.sentinels {
                let facts = sentinel.command(&format!("SENTINEL MASTER {}", Self::NAME)).await.unwrap_or_default();
                if !facts.contains("num-other-sentinels\r\n$1\r\n2\r\n") || !facts.contains(&replicas) {
                    return false;
                }
            }
            true
        })
        .await;
        self
    }

    /// The URL `redis+sentinel://…` of all Sentinels.
    pub fn url(&self) -> String {
        let hosts: Vec<String> = self.sentinels.iter().map(|one| format!("127.0.0.1:{}", one.port())).collect();
        format!("redis+sentinel://{}/{}", hosts.join(","), Self::NAME)
    }

    /// Index of the server that says it is the primary and has a replica or is the one that Sentinels name; `None` while
    /// the Sentinels do not agree.
    pub async fn primary(&self) -> Option<usize> {
        let mut ports = Vec::new();
        for sentinel in &self.sentinels {
            let line = format!("SENTINEL GET-MASTER-ADDR-BY-NAME {}", Self::NAME);
            let reply = sentinel.command(&line).await.ok()?;
            ports.push(reply.lines().rev().find(|line| !line.is_empty())?.parse::<u16>().ok()?);
        }
        ports.dedup();
        let [port] = ports[..] else { return None };
        let tls = self.tls_ports.iter().take(self.servers.len()).position(|known| *known == port);
        tls.or_else(|| self.servers.iter().position(|server| server.port() == port))
    }
}
