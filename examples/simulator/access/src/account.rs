//! Accounts: one per role, named after it. Only password hashes are stored.

use argon2::{Argon2, PasswordHasher, PasswordVerifier};
use cachefront::Entropy;
use cachefront::clock::SystemEntropy;
use simulator_cli::{ExposeSecret, SecretString};
use simulator_model::credentials::{Passwords, Role};
use simulator_model::domain::{Database, DbError};

/// A generated password, to be shown once.
#[derive(Clone, Debug)]
pub struct Printed {
    pub name: &'static str,
    pub password: SecretString,
}

/// An account that can log in.
#[derive(Clone)]
pub(super) struct Account {
    pub(super) role: Role,
    /// In argon2's text form, which includes parameters and salt.
    pub(super) hash: String,
}

/// All accounts.
#[derive(Clone, Default)]
pub(super) struct Accounts(Vec<Account>);

impl Accounts {
    pub(super) async fn read(database: &dyn Database) -> Result<Self, DbError> {
        let mut accounts = Vec::with_capacity(Role::ALL.len());
        for role in Role::ALL {
            let note = database.note(&note_of(role)).await?;
            accounts.extend(note.filter(|note| !note.text.is_empty()).map(|note| Account { role, hash: note.text }));
        }
        Ok(Self(accounts))
    }

    pub(super) fn get(&self, name: &str) -> Option<Account> {
        self.0.iter().find(|account| account.role.as_str() == name).cloned()
    }
}

fn note_of(role: Role) -> String {
    format!("account.{role}")
}

/// Writes the configured passwords to the database. Without a configured admin password, generates one if there is no
/// admin yet, and returns it.
pub(super) async fn adopt(database: &dyn Database, passwords: &Passwords) -> Result<Option<Printed>, DbError> {
    for (role, password) in
        [(Role::Viewer, &passwords.viewer), (Role::Operator, &passwords.operator), (Role::Admin, &passwords.admin)]
    {
        match password {
            Some(password) => set(database, role, password).await?,
            None if role == Role::Admin => {}
            None => close(database, role).await?,
        }
    }
    if passwords.admin.is_some() {
        return Ok(None);
    }
    let password = SecretString::from(made_up());
    let hash = hashed(password.expose_secret().to_owned()).await?;
    // Several processes may start at once: only the one that creates the admin prints the password.
    match database.set_note(&note_of(Role::Admin), &hash, Some(0)).await {
        Ok(_) => Ok(Some(Printed { name: Role::Admin.as_str(), password })),
        Err(DbError::VersionMismatch) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Closes an account that no password is configured for any more: the password that it had opens nothing, and its sessions end.
async fn close(database: &dyn Database, role: Role) -> Result<(), DbError> {
    let kept = database.note(&note_of(role)).await?;
    if kept.is_some_and(|note| !note.text.is_empty()) {
        database.set_note(&note_of(role), "", None).await?;
    }
    Ok(())
}

/// Sets a role's password. Setting the current password again writes nothing, so that its sessions remain valid.
async fn set(database: &dyn Database, role: Role, password: &SecretString) -> Result<(), DbError> {
    let kept = database.note(&note_of(role)).await?.map(|note| note.text);
    if kept.is_some() && check(kept, password.expose_secret().to_owned()).await {
        return Ok(());
    }
    let hash = hashed(password.expose_secret().to_owned()).await?;
    database.set_note(&note_of(role), &hash, None).await.map(drop)
}

/// Returns true if the password matches the hash. Without a hash it returns false after the same time, so that the time
/// taken does not tell whether the account exists.
pub(super) async fn check(hash: Option<String>, password: String) -> bool {
    let work = tokio::task::spawn_blocking(move || match hash {
        Some(hash) => Argon2::default().verify_password(password.as_bytes(), hash.as_str()).is_ok(),
        None => {
            let _ = hash_with(&password, &[0; 16]);
            false
        }
    });
    work.await.unwrap_or(false)
}

async fn hashed(password: String) -> Result<String, DbError> {
    let salt = SystemEntropy.random_u128().to_be_bytes();
    let work = tokio::task::spawn_blocking(move || hash_with(&password, &salt));
    match work.await {
        Ok(Some(hash)) => Ok(hash),
        _ => Err(DbError::Failed("the password cannot be hashed: take one of at most 4096 bytes".into())),
    }
}

fn hash_with(password: &str, salt: &[u8]) -> Option<String> {
    Argon2::default().hash_password_with_salt(password.as_bytes(), salt).ok().map(|hash| hash.to_string())
}

/// Generates a password of 100 random bits from characters that are not easily confused.
fn made_up() -> String {
    const LETTERS: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";
    let bits = SystemEntropy.random_u128();
    (0..20).map(|at| char::from(LETTERS[(bits >> (at * 5)) as usize % LETTERS.len()])).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_hash_fits_its_password_and_a_note_and_shows_neither() {
        let hash = hashed("correct horse".into()).await.expect("a hash");
        assert!(hash.starts_with("$argon2id$") && !hash.contains("correct") && hash.len() <= 255, "{hash}");
        assert!(check(Some(hash.clone()), "correct horse".into()).await);
        assert!(!check(Some(hash), "correct horsf".into()).await);
        assert!(!check(None, String::new()).await && !check(Some("nonsense".into()), String::new()).await);
        assert_ne!(made_up(), made_up());
        assert_eq!(made_up().len(), 20);
    }
}
