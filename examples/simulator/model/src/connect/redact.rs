//! Takes secrets out of what others say before it is shown.

use simulator_cli::Secret;

/// What a secret is replaced with.
const HIDDEN: &str = "***";

/// A setting whose name holds one of these words is a secret, whatever its value.
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

/// The secrets that Kafka Connect knows, in all forms in which it may say them.
#[derive(Clone, Debug, Default)]
pub(super) struct Redactor {
    hidden: Vec<Secret>,
}

impl Redactor {
    /// Hides the passwords of these URLs.
    pub(super) fn of_urls(urls: &[&Secret]) -> Self {
        let mut hidden = Vec::new();
        for url in urls {
            let Some(password) = password(url.expose()) else { continue };
            let plain = decoded(password);
            // As a URL has it, as a configuration has it, and as JSON prints it.
            let json = serde_json::Value::from(plain.as_str()).to_string();
            for form in [password, &plain, json.trim_matches('"')] {
                if !form.is_empty() {
                    hidden.push(Secret::new(form));
                }
            }
        }
        // A form that holds another one goes first.
        hidden.sort_by_key(|secret| std::cmp::Reverse(secret.expose().len()));
        Self { hidden }
    }

    /// Hides the passwords that a client's settings hold: `sasl.jaas.config` has one between quotes.
    pub(super) fn and_settings<'a>(mut self, values: impl Iterator<Item = &'a Secret>) -> Self {
        for value in values {
            let passwords = value.expose().split("password=\"").skip(1).filter_map(|rest| rest.split_once('"'));
            self.hidden.extend(passwords.map(|(password, _)| Secret::new(password)).filter(|one| !one.matches("")));
        }
        self.hidden.sort_by_key(|secret| std::cmp::Reverse(secret.expose().len()));
        self
    }

    /// The text without them.
    pub(super) fn clean(&self, text: &str) -> String {
        let clean = |text: String, secret: &Secret| text.replace(secret.expose(), HIDDEN);
        self.hidden.iter().fold(text.to_owned(), clean)
    }

    /// The value of a connector's setting as it may be shown. Others may have configured the connector, so what is
    /// hidden is not only what this program knows.
    pub(super) fn setting(&self, name: &str, value: &str) -> String {
        match is_secret(name) || password(value).is_some() {
            true => HIDDEN.to_owned(),
            false => self.clean(value),
        }
    }
}

/// True for `database.password`, `ssl.keystore.key` and the like, and not for `key.converter`.
fn is_secret(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    let is_key = name.ends_with(".key") || name.ends_with("_key") || name.contains("access.key");
    is_key || SECRET_WORDS.iter().any(|word| name.contains(word))
}

/// The password of a URL, as it is written there.
fn password(url: &str) -> Option<&str> {
    let rest = url.split_once("://")?.1;
    let authority = rest.split(['/', '?', '#']).next()?;
    let (_, password) = authority.rsplit_once('@')?.0.split_once(':')?;
    Some(password)
}

/// `%41` as `A`; what is no such code stays.
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
        let redactor = Redactor::of_urls(&[&Secret::new("mysql://u:p%40s%22s@db/x"), &Secret::new("http://h:1")]);
        let said = r#"url mysql://u:p%40s%22s@db, plain p@s"s, json p@s\"s, no user u"#;
        assert_eq!(redactor.clean(said), "url mysql://u:***@db, plain ***, json ***, no user u");
        assert!(!format!("{redactor:?}").contains("p@s"));
    }

    #[test]
    fn a_password_of_the_client_is_hidden() {
        let jaas = Secret::new(r#"org.example.ScramLoginModule required username="u" password="p4ss";"#);
        let redactor = Redactor::default().and_settings([&jaas, &Secret::new("SASL_SSL")].into_iter());
        assert_eq!(redactor.clean(r#"SASL_SSL password="p4ss""#), r#"SASL_SSL password="***""#);
    }

    #[test]
    fn secret_settings_are_hidden_by_their_name_and_by_what_they_hold() {
        let redactor = Redactor::of_urls(&[&Secret::new("mysql://u:hunter2@db/x")]);
        for (name, value) in [
            ("database.password", "x"),
            ("schema.history.internal.producer.sasl.jaas.config", "x"),
            ("ssl.keystore.key", "x"),
            ("http.proxy", "http://u:p@proxy:1"),
        ] {
            assert_eq!(redactor.setting(name, value), "***", "{name}");
        }
        assert_eq!(redactor.setting("database.user", "debezium"), "debezium");
        assert_eq!(redactor.setting("heartbeat.action.query", "SELECT 'hunter2'"), "SELECT '***'");
        assert_eq!(redactor.setting("key.converter", "org.x.JsonConverter"), "org.x.JsonConverter");
    }

    #[test]
    fn odd_percent_signs_stay() {
        assert_eq!(decoded("100%"), "100%");
        assert_eq!(decoded("%zz%41"), "%zzA");
        assert_eq!(decoded("a%é1"), "a%é1");
    }
}
