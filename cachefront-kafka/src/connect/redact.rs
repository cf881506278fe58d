//! Hides secrets in text from other programs.

use std::fmt;

/// The replacement of a secret.
const HIDDEN: &str = "***";

/// A setting whose name contains one of these words is secret, whatever its value.
const SECRET_WORDS: [&str; 10] = [
    "password",
    "passwd",
    "passphrase",
    "secret",
    "token",
    "credential",
    "jaas",
    "authorization",
    "private",
    "user.info",
];

/// Text that `Debug` does not print.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Secret(String);

impl Secret {
    pub(super) fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// Returns the text.
    pub(super) fn expose(&self) -> &str {
        &self.0
    }

    /// Returns the host and port of a URL.
    pub(super) fn host(&self) -> &str {
        let rest = self.0.split_once("://").map_or("", |(_, rest)| rest);
        let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
        authority.rsplit('@').next().unwrap_or_default()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(***)")
    }
}

/// Hides secrets in text from other programs, such as stack traces of Kafka Connect. `Debug` does not print them.
///
/// ```
/// use cachefront::kafka::connect::Redactor;
///
/// let redactor = Redactor::new().with_url("mysql://debezium:p%40ss@mysql/shop");
/// assert_eq!(redactor.redact("Access denied, password p@ss"), "Access denied, password ***");
/// assert_eq!(redactor.redact_setting("database.password", "whatever it is"), "***");
/// ```
#[derive(Clone, Debug, Default)]
pub struct Redactor {
    hidden: Vec<Secret>,
}

impl Redactor {
    /// Returns a redactor without any secrets. It still hides settings with secret names.
    pub fn new() -> Self {
        Self::default()
    }

    /// Hides this text, also as JSON spells it.
    #[must_use]
    pub fn with_secret(mut self, secret: &str) -> Self {
        let json = serde_json::Value::from(secret).to_string();
        for form in [secret, json.trim_matches('"')] {
            self.hide(form);
        }
        self
    }

    /// Hides the password of a URL, encoded and decoded.
    #[must_use]
    pub fn with_url(self, url: &str) -> Self {
        match password(url) {
            Some(password) => self.with_secret(&decoded(password)).with_secret(password),
            None => self,
        }
    }

    /// Hides the passwords inside of a Kafka client's setting: `sasl.jaas.config` has one between quotes.
    #[must_use]
    pub fn with_client_setting(mut self, value: &str) -> Self {
        for rest in value.split("password=\"").skip(1) {
            if let Some((password, _)) = rest.split_once('"') {
                self = self.with_secret(password);
            }
        }
        self
    }

    /// Hides the secrets of a setting: its value if the name is a secret's, such as `ssl.key.password`, else the passwords inside
    /// of it.
    pub(super) fn with_setting(self, name: &str, value: &str) -> Self {
        // The configuration around a password is no secret, and hiding all of it alone would miss the password elsewhere.
        let redactor = self.with_client_setting(value).with_url(value);
        let is_text = !value.contains("password=\"") && !matches!(value, "true" | "false");
        if is_secret(name) && is_text { redactor.with_secret(value) } else { redactor }
    }

    /// Adds the secrets of another redactor.
    #[must_use]
    pub fn with(mut self, other: Self) -> Self {
        for secret in &other.hidden {
            self.hide(secret.expose());
        }
        self
    }

    /// Longer secrets come first: a shorter one may be a part of them.
    fn hide(&mut self, secret: &str) {
        if secret.is_empty() || self.hidden.iter().any(|hidden| hidden.expose() == secret) {
            return;
        }
        let at = self.hidden.partition_point(|hidden| hidden.expose().len() >= secret.len());
        self.hidden.insert(at, Secret::new(secret));
    }

    /// Returns the text with every secret replaced.
    pub fn redact(&self, text: &str) -> String {
        self.hidden.iter().fold(text.to_owned(), |text, secret| text.replace(secret.expose(), HIDDEN))
    }

    /// Returns the value of a connector's setting as it may be shown. Another program may have configured the connector,
    /// so a setting is hidden by its name and by its form, not only if its value is known to be secret.
    pub fn redact_setting(&self, name: &str, value: &str) -> String {
        match is_secret(name) || password(value).is_some() {
            true => HIDDEN.to_owned(),
            false => self.redact(value),
        }
    }
}

/// Returns true for names such as `database.password` and `ssl.keystore.key`, and false for `key.converter`.
fn is_secret(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    let is_key = name.ends_with(".key") || name.ends_with("_key") || name.contains("access.key");
    is_key || SECRET_WORDS.iter().any(|word| name.contains(word))
}

/// Returns the password of a URL, encoded as it is there.
fn password(url: &str) -> Option<&str> {
    let rest = url.split_once("://")?.1;
    let authority = rest.split(['/', '?', '#']).next()?;
    let (_, password) = authority.rsplit_once('@')?.0.split_once(':')?;
    Some(password)
}

/// Decodes `%41` to `A`. Invalid codes stay as they are.
fn decoded(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('%') {
        bytes.extend_from_slice(before.as_bytes());
        match after.get(..2).and_then(|code| u8::from_str_radix(code, 16).ok()) {
            Some(byte) => {
                bytes.push(byte);
                rest = after.get(2..).unwrap_or_default();
            }
            None => {
                bytes.push(b'%');
                rest = after;
            }
        }
    }
    bytes.extend_from_slice(rest.as_bytes());
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_hidden_in_every_form() {
        let redactor = Redactor::new().with_url("mysql://u:p%40s%22s@db/x").with_url("http://h:1");
        let text = r#"url mysql://u:p%40s%22s@db, plain p@s"s, json p@s\"s, no user u"#;
        assert_eq!(redactor.redact(text), "url mysql://u:***@db, plain ***, json ***, no user u");
        assert!(!format!("{redactor:?}").contains("p@s"));
    }

    #[test]
    fn a_password_in_a_client_setting_is_hidden() {
        let jaas = r#"org.example.ScramLoginModule required username="u" password="p4ss";"#;
        let redactor = Redactor::new().with_client_setting(jaas).with_client_setting("SASL_SSL");
        assert_eq!(redactor.redact(r#"SASL_SSL password="p4ss""#), r#"SASL_SSL password="***""#);
    }

    #[test]
    fn secret_settings_are_hidden_by_name_and_by_value() {
        let redactor = Redactor::new().with_url("mysql://u:hunter2@db/x");
        for (name, value) in [
            ("database.password", "x"),
            ("schema.history.internal.producer.sasl.jaas.config", "x"),
            ("ssl.keystore.key", "x"),
            ("http.proxy", "http://u:p@proxy:1"),
        ] {
            assert_eq!(redactor.redact_setting(name, value), "***", "{name}");
        }
        assert_eq!(redactor.redact_setting("database.user", "debezium"), "debezium");
        assert_eq!(redactor.redact_setting("heartbeat.action.query", "SELECT 'hunter2'"), "SELECT '***'");
        assert_eq!(redactor.redact_setting("key.converter", "org.x.JsonConverter"), "org.x.JsonConverter");
    }

    #[test]
    fn invalid_percent_codes_stay() {
        assert_eq!(decoded("100%"), "100%");
        assert_eq!(decoded("%zz%41"), "%zzA");
        assert_eq!(decoded("a%é1"), "a%é1");
    }
}
