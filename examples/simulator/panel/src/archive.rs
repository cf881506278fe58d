//! The runs that are kept: one file each in the data folder, which survive a restart.

use std::collections::HashMap;
use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use loadgen::record::{RunKind, RunRecord, SCHEMA, VERSION};
use serde::Deserialize;
use simulator_model::settings::RunSettings;

/// Maximum size of a file that is read. The largest record, of a long sweep with 45 measurements, has about 300 KB.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// Maximum number of damaged files that are named.
const DAMAGED_MAX: usize = 20;

/// Maximum length of an id: the largest time and the longest kind are far below.
const ID_BYTES_MAX: usize = 40;

/// What a file's name ends with.
const ENDING: &str = ".json";

/// A file that is being written. It gets its name when it is whole.
const UNFINISHED: &str = ".unfinished";

/// The kept runs. Its methods block on the file system.
#[derive(Debug)]
pub(super) struct Archive {
    settings: RunSettings,
    /// What was read of each file, so that only changed ones are read again.
    seen: Mutex<HashMap<String, Seen>>,
    /// It is locked while a run is kept: one at a time is written.
    last: Mutex<Last>,
}

/// What came of the last attempt to keep a run.
#[derive(Clone, Debug, Default)]
struct Last {
    /// The run, if it could not be written.
    unwritten: Option<KeptRun>,
    /// What failed, and what to do.
    trouble: Option<String>,
}

#[derive(Clone, Debug)]
struct Seen {
    modified: Option<SystemTime>,
    bytes: u64,
    record: Result<Arc<RunRecord>, String>,
}

/// A kept run, and its name in URLs.
#[derive(Clone, Debug)]
pub(super) struct KeptRun {
    pub(super) id: String,
    pub(super) record: Arc<RunRecord>,
    /// False for a run that could not be written: it is lost when the program ends.
    pub(super) is_written: bool,
}

/// A file that cannot be shown.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Damaged {
    pub(super) id: String,
    pub(super) file: PathBuf,
    pub(super) why: String,
}

/// All that is kept.
#[derive(Clone, Debug, Default)]
pub(super) struct Listing {
    /// The newest first.
    pub(super) runs: Vec<KeptRun>,
    pub(super) damaged: Vec<Damaged>,
    /// Why nothing can be read, or why the last run was not kept.
    pub(super) trouble: Option<String>,
}

impl Listing {
    pub(super) fn find(&self, id: &str) -> Option<&KeptRun> {
        self.runs.iter().find(|run| run.id == id)
    }
}

/// Returns the id of a record: when it began, in ms since 1970, and its kind.
pub(super) fn id_of(record: &RunRecord) -> String {
    let at = record.at.parse::<jiff::Timestamp>().map_or(0, jiff::Timestamp::as_millisecond);
    format!("{at:013}-{}", record.kind.as_str())
}

/// Returns true if a text can be an id. It is a part of a path: only digits, letters and hyphens are allowed.
fn is_id(text: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    (1..=ID_BYTES_MAX).contains(&text.len()) && text.bytes().all(is_plain)
}

/// The head of every file: a file of a later version is recognized by it.
#[derive(Deserialize)]
struct Head {
    schema: String,
    schema_version: u32,
}

fn parse(text: &str) -> Result<RunRecord, String> {
    let head: Head = serde_json::from_str(text).map_err(|error| format!("it is not a kept run: {error}"))?;
    if head.schema != SCHEMA {
        return Err("it is not a kept run".to_owned());
    }
    if head.schema_version != VERSION {
        let version = head.schema_version;
        return Err(format!("it has version {version} of the form, and this program reads version {VERSION}"));
    }
    serde_json::from_str(text).map_err(|error| format!("it is not complete: {error}"))
}

fn read(file: &Path, bytes: u64) -> Result<Arc<RunRecord>, String> {
    if bytes > FILE_BYTES_MAX {
        return Err(format!("it has {bytes} bytes, and a run has at most {FILE_BYTES_MAX}"));
    }
    let text = fs::read_to_string(file).map_err(|error| format!("it cannot be read: {error}"))?;
    parse(&text).map(Arc::new)
}

impl Archive {
    pub(super) fn new(settings: RunSettings) -> Self {
        Self { settings, seen: Mutex::default(), last: Mutex::default() }
    }

    /// Returns everything that is kept now, and the last run if it could not be written.
    pub(super) fn list(&self) -> Listing {
        let mut listing = match self.files() {
            Ok(files) => self.read_all(files),
            Err(error) => {
                let folder = self.settings.dir.display();
                let trouble = format!("The kept runs in {folder} cannot be read: {error}. Check CACHEFRONT_DATA_DIR.");
                Listing { trouble: Some(trouble), ..Listing::default() }
            }
        };
        let Last { unwritten, trouble } = self.last().clone();
        listing.trouble = listing.trouble.or(trouble);
        if let Some(run) = unwritten {
            let at = listing.runs.partition_point(|other| other.id > run.id);
            listing.runs.insert(at, run);
        }
        listing
    }

    fn read_all(&self, files: Vec<File>) -> Listing {
        let mut listing = Listing::default();
        let mut seen = self.seen();
        let mut current = HashMap::new();
        for File { id, file, modified, bytes } in files {
            let known = seen.remove(&id).filter(|known| (known.modified, known.bytes) == (modified, bytes));
            let known = known.unwrap_or_else(|| Seen { modified, bytes, record: read(&file, bytes) });
            current.insert(id.clone(), known.clone());
            match known.record {
                Ok(record) => listing.runs.push(KeptRun { id, record, is_written: true }),
                Err(why) if listing.damaged.len() < DAMAGED_MAX => listing.damaged.push(Damaged { id, file, why }),
                Err(_) => {}
            }
        }
        *seen = current;
        listing
    }

    /// Writes a record and removes the oldest ones beyond the bounds. If it cannot be written, it is held in memory until a later
    /// one can be, together with which it is tried again.
    ///
    /// # Errors
    /// Those of the file system; [`Archive::list`] says so until a run is written again.
    pub(super) fn keep(&self, record: Arc<RunRecord>) -> io::Result<()> {
        let id = id_of(&record);
        let mut last = self.last();
        let folder = self.settings.dir.display();
        let todo = "Let this program write there, or set CACHEFRONT_DATA_DIR.";
        if let Err(error) = self.write(&id, &record) {
            last.trouble = Some(format!(
                "The last run could not be kept in {folder}: {error}. It is shown until this program ends: export it. {todo}"
            ));
            last.unwritten = Some(KeptRun { id, record, is_written: false });
            return Err(error);
        }
        if last.unwritten.as_ref().is_none_or(|earlier| self.write(&earlier.id, &earlier.record).is_ok()) {
            *last = Last::default();
        }
        let pruned = self.prune(&id);
        if let Err(error) = &pruned {
            last.trouble = Some(format!("The oldest runs in {folder} could not be removed: {error}. {todo}"));
        }
        pruned
    }

    /// Removes a run, or a damaged file. Returns false if there is none of this id.
    ///
    /// # Errors
    /// Those of the file system.
    pub(super) fn remove(&self, id: &str) -> io::Result<bool> {
        if !is_id(id) {
            return Ok(false);
        }
        let mut last = self.last();
        let was_in_memory = last.unwritten.as_ref().is_some_and(|run| run.id == id);
        if was_in_memory {
            *last = Last::default();
        }
        match fs::remove_file(self.file(id)) {
            Ok(()) => Ok(true),
            Err(_) if was_in_memory => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn write(&self, id: &str, record: &RunRecord) -> io::Result<()> {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&self.settings.dir)?;
        let unfinished = self.settings.dir.join(UNFINISHED);
        // Left behind by a program that was killed: its rights are not known.
        if let Err(error) = fs::remove_file(&unfinished)
            && error.kind() != io::ErrorKind::NotFound
        {
            return Err(error);
        }
        let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&unfinished)?;
        file.write_all(&serde_json::to_vec(record)?)?;
        file.sync_all()?;
        fs::rename(&unfinished, self.file(id))
    }

    /// Removes the oldest files beyond the bounds, but never the one of `newest`.
    fn prune(&self, newest: &str) -> io::Result<()> {
        let (mut count, mut bytes) = (0_usize, 0_u64);
        for File { id, file, bytes: size, .. } in self.files()? {
            let is_beyond = count >= self.settings.count_max || bytes + size > self.settings.bytes_max;
            if !is_beyond || id == newest {
                (count, bytes) = (count + 1, bytes + size);
                continue;
            }
            match fs::remove_file(file) {
                // An operator has deleted it meanwhile.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                outcome => outcome?,
            }
        }
        Ok(())
    }

    /// Returns the files whose names are ids, the newest first.
    fn files(&self) -> io::Result<Vec<File>> {
        let entries = match fs::read_dir(&self.settings.dir) {
            // Nothing was kept yet.
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries?,
        };
        let mut files = Vec::new();
        for entry in entries {
            let entry = entry?;
            let name = entry.file_name();
            let Some(id) = name.to_str().and_then(|name| name.strip_suffix(ENDING)).filter(|id| is_id(id)) else {
                continue;
            };
            // Of the entry itself: a link is no file. A file that has just been removed is skipped.
            let Ok(metadata) = entry.metadata() else { continue };
            if metadata.is_file() {
                let (modified, bytes) = (metadata.modified().ok(), metadata.len());
                files.push(File { id: id.to_owned(), file: entry.path(), modified, bytes });
            }
        }
        files.sort_by(|one, other| other.id.cmp(&one.id));
        Ok(files)
    }

    fn file(&self, id: &str) -> PathBuf {
        self.settings.dir.join(format!("{id}{ENDING}"))
    }

    fn last(&self) -> MutexGuard<'_, Last> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn seen(&self) -> MutexGuard<'_, HashMap<String, Seen>> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[derive(Debug)]
struct File {
    id: String,
    file: PathBuf,
    modified: Option<SystemTime>,
    bytes: u64,
}

/// Where a measurement is: the id of its run, and its number there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) id: String,
    pub(super) number: usize,
}

impl Place {
    /// Parses `id.number`; `None` if it is anything else.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (id, number) = text.split_once('.')?;
        Some(Self { id: id.to_owned(), number: number.parse().ok()? }).filter(|place| is_id(&place.id))
    }
}

/// What a run is called.
pub(super) fn kind_in_words(kind: RunKind) -> &'static str {
    match kind {
        RunKind::Load => "Load",
        RunKind::Experiment => "A/B",
        RunKind::Sweep => "TTL sweep",
    }
}

#[cfg(test)]
mod tests;
