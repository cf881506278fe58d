//! A slow database. Statements on settings are not delayed: a fault must not keep itself from being switched off.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use super::switches::Faults;
use crate::domain::{
    AuditEntry, Connections, Database, DbError, Mode, ModeRow, Note, Seek, Seen, User, UserInput, Written,
};

/// Delays statements on users for as long as the switch says.
#[derive(Debug)]
pub struct FaultyDatabase {
    pub database: Arc<dyn Database>,
    pub faults: Arc<Faults>,
}

impl FaultyDatabase {
    async fn delay(&self) {
        let millis = self.faults.current().database_delay_ms;
        if millis > 0 {
            tokio::time::sleep(Duration::from_millis(millis)).await;
        }
    }
}

#[deny(clippy::missing_trait_methods, reason = "everything has to pass")]
#[async_trait]
impl Database for FaultyDatabase {
    fn users_table(&self) -> String {
        self.database.users_table()
    }

    async fn create(&self, id: Option<u64>, input: &UserInput) -> Result<Written<User>, DbError> {
        self.delay().await;
        self.database.create(id, input).await
    }

    async fn update(&self, id: u64, input: &UserInput) -> Result<Option<Written<User>>, DbError> {
        self.delay().await;
        self.database.update(id, input).await
    }

    async fn delete(&self, id: u64) -> Result<Option<Written<()>>, DbError> {
        self.delay().await;
        self.database.delete(id).await
    }

    async fn get(&self, id: u64) -> Result<Seen<Option<User>>, DbError> {
        self.delay().await;
        self.database.get(id).await
    }

    async fn get_by_email(&self, email: &str) -> Result<Seen<Option<User>>, DbError> {
        self.delay().await;
        self.database.get_by_email(email).await
    }

    async fn list(&self, after: u64, limit: u32) -> Result<Vec<User>, DbError> {
        self.delay().await;
        self.database.list(after, limit).await
    }

    async fn find(&self, text: &str, seek: Seek, limit: u32) -> Result<Vec<User>, DbError> {
        self.delay().await;
        self.database.find(text, seek, limit).await
    }

    async fn mode(&self) -> Result<ModeRow, DbError> {
        self.database.mode().await
    }

    async fn adopt_mode(&self, environment: Option<Mode>) -> Result<ModeRow, DbError> {
        self.database.adopt_mode(environment).await
    }

    async fn set_mode(&self, mode: Mode, expected: Option<&[u64]>) -> Result<ModeRow, DbError> {
        self.database.set_mode(mode, expected).await
    }

    async fn mode_history(&self) -> Result<Vec<ModeRow>, DbError> {
        self.database.mode_history().await
    }

    async fn note(&self, name: &str) -> Result<Option<Note>, DbError> {
        self.database.note(name).await
    }

    async fn set_note(&self, name: &str, text: &str, expected: Option<u64>) -> Result<Note, DbError> {
        self.database.set_note(name, text, expected).await
    }

    async fn add_audit(&self, entry: &AuditEntry) -> Result<(), DbError> {
        self.database.add_audit(entry).await
    }

    async fn audit(&self) -> Result<Vec<AuditEntry>, DbError> {
        self.database.audit().await
    }

    fn connections(&self) -> Connections {
        self.database.connections()
    }

    async fn keep(&self, name: &str, text: &str, expires: Option<u64>) -> Result<(), DbError> {
        self.database.keep(name, text, expires).await
    }

    async fn kept(&self, name: &str) -> Result<Option<String>, DbError> {
        self.database.kept(name).await
    }

    async fn kept_names(&self, prefix: &str) -> Result<Vec<String>, DbError> {
        self.database.kept_names(prefix).await
    }

    async fn ping(&self) -> Result<(), DbError> {
        self.delay().await;
        self.database.ping().await
    }
}
