//! What a run that switches modes has done to the simulator, as a file: if the process is killed, the next one takes it back.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::load::{LoadControl, ModeView, Target};

/// Maximum size of a file that is read; a note has some 200 bytes.
const BYTES_MAX: u64 = 4_096;

/// A run that has not come to its end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Unfinished {
    /// `experiment` or `sweep`.
    pub(crate) kind: String,
    /// Address prefix of its rows.
    pub(crate) prefix: String,
    /// The mode that was found.
    pub(crate) found: ModeView,
    pub(crate) ours: Ours,
}

/// What a run has done to the mode.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Ours {
    /// The mode that was found or set last.
    pub(crate) set: ModeView,
    /// The mode that a request for which no response was read may have put in force, or may still.
    pub(crate) attempted: Option<ModeView>,
}

impl Ours {
    /// Returns true if a mode is the one that the run has set, or may have.
    pub(crate) fn has(&self, now: &ModeView) -> bool {
        now.version == self.set.version || self.attempted.as_ref() == Some(now)
    }

    /// Returns true if the request without a response may still be carried out.
    pub(crate) fn may_change(&self, now: &ModeView) -> bool {
        self.attempted.as_ref().is_some_and(|attempted| attempted.version == now.version + 1)
    }
}

/// The API that runs send their requests to, and where what they do to it is noted.
#[derive(Clone, Debug)]
pub(crate) struct Site {
    pub(crate) target: Target,
    /// `None`: what a killed process has done stays, as for a run from a terminal.
    pub(crate) note: Option<Arc<Path>>,
}

impl Site {
    pub(crate) fn of(load: &LoadControl) -> Self {
        Self { target: load.target().clone(), note: load.note().cloned() }
    }

    /// Writes what the run is about to do, before it does it. A failure is logged and does not stop the run: it leaves more behind
    /// only if the process is killed.
    pub(crate) fn note(&self, unfinished: &Unfinished) {
        let Some(path) = &self.note else { return };
        if let Err(error) = write(path, unfinished) {
            tracing::warn!(%error, path = %path.display(), "it cannot be noted what a run is about to do: if this process is \
                            killed, the mode and the run's rows stay; check CACHEFRONT_DATA_DIR");
        }
    }

    /// Removes the note: nothing is left to be taken back.
    pub(crate) fn forget(&self) {
        let Some(path) = &self.note else { return };
        match fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                tracing::warn!(%error, path = %path.display(), "the note of a run that has ended cannot be removed");
            }
            _ => {}
        }
    }

    /// Returns the note of a run that an earlier process has not brought to its end; `None` if there is none that can be read.
    pub(crate) fn unfinished(&self) -> Option<Unfinished> {
        let path = self.note.as_ref()?;
        let size = path.metadata().ok()?.len();
        let text = if size <= BYTES_MAX { fs::read(path).ok()? } else { Vec::new() };
        let read = serde_json::from_slice(&text);
        if let Err(error) = &read {
            tracing::warn!(%error, path = %path.display(), "the note of an unfinished run cannot be read: look at the mode and at \
                            rows whose address begins with ab-, then remove the file");
        }
        read.ok()
    }
}

/// Replaces the file in one step, so that a process that is killed leaves a whole one.
fn write(path: &Path, unfinished: &Unfinished) -> io::Result<()> {
    let text = serde_json::to_vec(unfinished)?;
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    let mut new = PathBuf::from(path);
    new.set_extension("new");
    let mut file = File::create(&new)?;
    file.write_all(&text)?;
    file.sync_all()?;
    fs::rename(new, path)
}
