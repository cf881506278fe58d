//! Settings: flags over environment over `.env` over defaults, checked before anything starts.

mod caches;
mod flags;
mod kafka;
mod lookup;
mod runs;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

pub use caches::{BuiltWith, CacheOptions};
pub use flags::Flags;
pub use kafka::{Kafka, Source};
use lookup::{Lookup, http_url};
pub use runs::RunSettings;
use simulator_cli::{CliError, Environment, SecretString};

use tokio::time::Instant;

use crate::credentials::{ApiToken, Passwords, Role};
use crate::domain::Mode;

const MYSQL_URL_DEFAULT: &str = "mysql://root@127.0.0.1:3306/cachefront";
const REDIS_URL_DEFAULT: &str = "redis://127.0.0.1:6379/";

/// Everything that a role can be configured with.
#[derive(Clone, Debug)]
pub struct Settings {
    pub backend: Backend,
    /// The environment's mode; the row in the database has priority, unless the environment was edited since the last
    /// start.
    pub mode: Option<Mode>,
    pub caches: CacheOptions,
    /// How many app servers this process plays, from one.
    pub servers: usize,
    /// The runs that the panel keeps.
    pub runs: RunSettings,
    pub api_addr: String,
    pub ui_addr: String,
    pub consumer_addr: Option<String>,
    pub api_url: String,
    pub api_tokens: Vec<ApiToken>,
    /// Of the panel's accounts.
    pub passwords: Passwords,
    /// The panel's cookies are sent over TLS only.
    pub ui_secure: bool,
    /// The panel changes nothing.
    pub ui_read_only: bool,
    /// A database without users gets some.
    pub sample_users: bool,
    pub insecure_open_api: bool,
    /// Maximum number of requests that the API handles at once.
    pub api_in_flight: usize,
    pub startup_timeout: Duration,
    /// The start plus `startup_timeout`: one deadline for all servers that are waited for.
    pub startup_deadline: Instant,
}

/// Where rows and entries live.
#[derive(Clone, Debug)]
pub enum Backend {
    /// SQLite and this process's memory.
    Embedded { data_dir: PathBuf, source: Source },
    /// MySQL and Redis.
    Stack(Box<Stack>),
}

/// The servers.
#[derive(Clone, Debug)]
pub struct Stack {
    pub mysql_url: SecretString,
    pub redis_url: SecretString,
    pub tls_ca: Option<PathBuf>,
    pub source: Source,
    pub kafka: Kafka,
}

impl Settings {
    /// # Errors
    /// A line that names the flag or variable that cannot be used.
    pub fn resolve(needs_servers: bool, flags: &Flags, environment: &Environment) -> Result<Self, CliError> {
        let lookup = Lookup { environment };
        let api_addr = lookup.address("CACHEFRONT_API_ADDR", &flags.api_addr)?.unwrap_or("127.0.0.1:8000".into());
        let api_url = match lookup.text("CACHEFRONT_API_URL", &flags.api_url) {
            Some(url) => http_url("CACHEFRONT_API_URL", &url)?,
            None => format!("http://{}", reachable(&api_addr)),
        };
        let startup_timeout =
            lookup.duration("CACHEFRONT_STARTUP_TIMEOUT", &flags.startup_timeout)?.unwrap_or(Duration::from_secs(30));
        Ok(Self {
            backend: lookup.backend(needs_servers, flags)?,
            mode: lookup.mode(flags)?,
            caches: lookup.caches(flags)?,
            servers: lookup.servers(flags)?,
            runs: lookup.runs(flags)?,
            api_addr,
            ui_addr: lookup.address("CACHEFRONT_UI_ADDR", &flags.ui_addr)?.unwrap_or("127.0.0.1:8501".into()),
            consumer_addr: lookup.address("CACHEFRONT_CONSUMER_ADDR", &flags.consumer_addr)?,
            api_url,
            api_tokens: lookup.tokens()?,
            passwords: lookup.passwords(),
            ui_secure: lookup.switch("CACHEFRONT_UI_SECURE")?,
            ui_read_only: lookup.switch("CACHEFRONT_UI_READ_ONLY")?,
            sample_users: lookup.switch_or("CACHEFRONT_SAMPLE_USERS", true)?,
            insecure_open_api: flags.insecure_open_api,
            api_in_flight: lookup.in_flight(flags)?,
            startup_timeout,
            startup_deadline: Instant::now() + startup_timeout,
        })
    }

    /// The token that a client of the API sends: the first one that may change something.
    pub fn client_token(&self) -> Option<&SecretString> {
        self.api_tokens.iter().find(|known| known.role >= Role::Operator).map(|known| &known.token)
    }

    /// True if everything runs in this process.
    pub fn embedded(&self) -> bool {
        matches!(self.backend, Backend::Embedded { .. })
    }
}

impl Lookup<'_> {
    fn backend(&self, needs_servers: bool, flags: &Flags) -> Result<Backend, CliError> {
        let mysql_url = self.text("CACHEFRONT_MYSQL_URL", &flags.mysql_url);
        let on_servers = flags.stack || mysql_url.is_some() || needs_servers;
        let source = self.source(flags)?;
        if !on_servers {
            let data_dir = self.data_dir(flags);
            // Without servers, the default is the source that shows the whole pipeline.
            return Ok(Backend::Embedded { data_dir, source: source.unwrap_or(Source::Kafka) });
        }
        let source = source.unwrap_or(Source::Binlog);
        let redis_url = self.text("CACHEFRONT_REDIS_URL", &flags.redis_url).unwrap_or(REDIS_URL_DEFAULT.into());
        if !(redis_url.starts_with("redis://") || redis_url.starts_with("rediss://")) {
            return Err(CliError::new(
                "CACHEFRONT_REDIS_URL is not a Redis URL: write redis://host:6379/ or rediss://…",
            ));
        }
        let mysql_url = mysql_url.unwrap_or(MYSQL_URL_DEFAULT.into());
        if !mysql_url.starts_with("mysql://") {
            return Err(CliError::new(
                "CACHEFRONT_MYSQL_URL is not a MySQL URL: write mysql://user:password@host:3306/database",
            ));
        }
        let tls_ca = self.text("CACHEFRONT_TLS_CA", &flags.tls_ca).map(PathBuf::from);
        if let Some(file) = tls_ca.as_ref().filter(|file| !file.is_file()) {
            return Err(CliError::new(format!("CACHEFRONT_TLS_CA: there is no file {}", file.display())));
        }
        Ok(Backend::Stack(Box::new(Stack {
            kafka: self.kafka(flags, &mysql_url)?,
            mysql_url: SecretString::from(mysql_url),
            redis_url: SecretString::from(redis_url),
            tls_ca,
            source,
        })))
    }
}

/// The address for clients: an address that listens on every interface is reached through the loopback one.
fn reachable(addr: &str) -> String {
    match addr.parse::<SocketAddr>() {
        Ok(addr) if addr.ip().is_unspecified() => format!("127.0.0.1:{}", addr.port()),
        _ => addr.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolve(needs_servers: bool, pairs: &[(&str, &str)]) -> Result<Settings, CliError> {
        Settings::resolve(needs_servers, &Flags::default(), &Environment::of(pairs))
    }

    #[test]
    fn nothing_set_is_embedded_with_the_documented_defaults() {
        let settings = resolve(false, &[]).expect("defaults");
        assert!(settings.embedded());
        assert_eq!((settings.api_addr.as_str(), settings.ui_addr.as_str()), ("127.0.0.1:8000", "127.0.0.1:8501"));
        assert_eq!((settings.caches.ttl, settings.mode), (Duration::from_secs(30), None));
    }

    #[test]
    fn a_database_url_and_the_other_roles_mean_servers() {
        let url = ("CACHEFRONT_MYSQL_URL", "mysql://u:hidden@db/shop");
        let settings = resolve(false, &[url]).expect("servers");
        assert!(!settings.embedded());
        assert!(!format!("{settings:?}").contains("hidden"));
        assert!(!resolve(true, &[]).expect("servers").embedded());
    }

    #[test]
    fn a_flag_overrides_the_environment() {
        let flags = Flags { ttl: Some("2s".into()), stack: true, ..Flags::default() };
        let environment = Environment::of(&[("CACHEFRONT_TTL", "9s"), ("CACHEFRONT_API_ADDR", "0.0.0.0:81")]);
        let settings = Settings::resolve(false, &flags, &environment).expect("settings");
        assert_eq!(settings.caches.ttl, Duration::from_secs(2));
        assert_eq!(settings.api_url, "http://127.0.0.1:81");
        assert!(!settings.embedded());
    }

    #[test]
    fn what_cannot_be_used_is_named_and_its_value_is_not_shown() {
        for (name, value) in [
            ("CACHEFRONT_TTL", "30"),
            ("CACHEFRONT_MODE", "fast"),
            ("CACHEFRONT_API_ADDR", "8000"),
            ("CACHEFRONT_API_URL", "ftp://x"),
            ("CACHEFRONT_API_URL", "https://hidden"),
            ("CACHEFRONT_API_TOKENS", "operator:"),
            ("CACHEFRONT_API_TOKENS", "hidden,viewer:"),
            ("CACHEFRONT_API_TOKENS", " , "),
            ("CACHEFRONT_MYSQL_URL", "postgres://u:hidden@x/y"),
            ("CACHEFRONT_STARTUP_TIMEOUT", "soon"),
            ("CACHEFRONT_FENCED", "maybe"),
            ("CACHEFRONT_REFRESH_IN_PLACE", "maybe"),
            ("CACHEFRONT_STALE_IF_ERROR", "long"),
            ("CACHEFRONT_SERVERS", "0"),
            ("CACHEFRONT_SERVERS", "5"),
            ("CACHEFRONT_SERVERS", "two"),
            ("CACHEFRONT_UI_SECURE", "maybe"),
            ("CACHEFRONT_UI_READ_ONLY", "on"),
            ("CACHEFRONT_SAMPLE_USERS", "some"),
        ] {
            let message = resolve(false, &[(name, value)]).expect_err(name).to_string();
            assert!(message.contains(name) && !message.contains("hidden"), "{message}");
        }
    }
}
