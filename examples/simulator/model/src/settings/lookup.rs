//! Single settings: the flag, else the variable, checked.

use std::time::Duration;

use simulator_cli::{CliError, Environment, ExposeSecret, SecretString, duration};

use super::flags::Flags;
use crate::credentials::{ApiToken, Passwords};
use crate::domain::Mode;
use crate::server_name::SERVERS_MAX;

pub(super) struct Lookup<'a> {
    pub(super) environment: &'a Environment,
}

impl Lookup<'_> {
    pub(super) fn text(&self, name: &str, flag: &Option<String>) -> Option<String> {
        flag.clone().or_else(|| self.environment.get(name).map(str::to_owned))
    }

    pub(super) fn duration(&self, name: &str, flag: &Option<String>) -> Result<Option<Duration>, CliError> {
        self.text(name, flag).map(|text| duration::parse(name, &text)).transpose()
    }

    /// False unless the variable is set.
    pub(super) fn switch(&self, name: &str) -> Result<bool, CliError> {
        self.switch_or(name, false)
    }

    pub(super) fn switch_or(&self, name: &str, default: bool) -> Result<bool, CliError> {
        match self.environment.get(name) {
            None => Ok(default),
            Some("false" | "0" | "no") => Ok(false),
            Some("true" | "1" | "yes") => Ok(true),
            Some(_) => Err(CliError::new(format!("{name} is neither true nor false"))),
        }
    }

    pub(super) fn in_flight(&self, flags: &Flags) -> Result<usize, CliError> {
        let Some(text) = self.text("CACHEFRONT_API_IN_FLIGHT", &flags.api_in_flight) else { return Ok(512) };
        match text.parse() {
            Ok(number @ 1..=65_536) => Ok(number),
            _ => Err(CliError::new("CACHEFRONT_API_IN_FLIGHT is not a number from 1 to 65536")),
        }
    }

    /// Returns how many app servers this process plays.
    pub(super) fn servers(&self, flags: &Flags) -> Result<usize, CliError> {
        let Some(text) = self.text("CACHEFRONT_SERVERS", &flags.servers) else { return Ok(1) };
        match text.parse() {
            Ok(number @ 1..=SERVERS_MAX) => Ok(number),
            _ => Err(CliError::new(format!("CACHEFRONT_SERVERS is not a number from 1 to {SERVERS_MAX}"))),
        }
    }

    pub(super) fn address(&self, name: &str, flag: &Option<String>) -> Result<Option<String>, CliError> {
        let Some(text) = self.text(name, flag) else { return Ok(None) };
        let port = text.rsplit_once(':').filter(|(host, _)| !host.is_empty()).map(|(_, port)| port.parse::<u16>());
        match port {
            Some(Ok(_)) => Ok(Some(text)),
            _ => Err(CliError::new(format!("{name} is not an address: write host:port, for example 127.0.0.1:8000"))),
        }
    }

    pub(super) fn mode(&self, flags: &Flags) -> Result<Option<Mode>, CliError> {
        let Some(text) = self.text("CACHEFRONT_MODE", &flags.mode) else { return Ok(None) };
        match text.parse() {
            Ok(mode) => Ok(Some(mode)),
            Err(()) => Err(CliError::new("CACHEFRONT_MODE is neither ttl nor cdc")),
        }
    }

    pub(super) fn passwords(&self) -> Passwords {
        let password = |name: &str| self.environment.get(name).map(SecretString::from);
        Passwords {
            admin: password("CACHEFRONT_UI_ADMIN_PASSWORD"),
            operator: password("CACHEFRONT_UI_OPERATOR_PASSWORD"),
            viewer: password("CACHEFRONT_UI_VIEWER_PASSWORD"),
        }
    }

    pub(super) fn tokens(&self) -> Result<Vec<ApiToken>, CliError> {
        let list = self.environment.get("CACHEFRONT_API_TOKENS").unwrap_or_default();
        let tokens: Vec<&str> = list.split(',').map(str::trim).filter(|token| !token.is_empty()).collect();
        if tokens.iter().any(|token| !token.bytes().all(|byte| byte.is_ascii_graphic())) {
            return Err(CliError::new("CACHEFRONT_API_TOKENS: a token may hold visible ASCII characters only"));
        }
        let tokens: Vec<ApiToken> = tokens.into_iter().map(ApiToken::parse).collect();
        // A variable that is set means that the API is to be closed. Without a token, or with an empty one, it would
        // be open.
        if !list.is_empty() && (tokens.is_empty() || tokens.iter().any(|known| known.token.expose_secret().is_empty()))
        {
            return Err(CliError::new(
                "CACHEFRONT_API_TOKENS: a token is empty: write role:token or token, separated by commas",
            ));
        }
        Ok(tokens)
    }
}

pub(super) fn http_url(name: &str, text: &str) -> Result<String, CliError> {
    let url = text.trim_end_matches('/');
    if url.starts_with("https://") {
        return Err(CliError::new(format!(
            "{name} begins with https://, and TLS is not supported there: write http://host:port, of the server itself \
             or of a proxy next to this program that speaks TLS to it"
        )));
    }
    let host = url.strip_prefix("http://").unwrap_or_default();
    match host.is_empty() {
        true => Err(CliError::new(format!("{name} is not a URL: write http://host:port"))),
        false => Ok(url.to_owned()),
    }
}
