//! Settings of the runs that the panel keeps.

use std::path::PathBuf;
use std::time::Duration;

use simulator_cli::CliError;

use super::flags::Flags;
use super::lookup::Lookup;

/// The folder of the runs in the data folder.
const FOLDER: &str = "runs";

const UNFINISHED: &str = "unfinished-run.json";

/// Where runs are kept, and their bounds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunSettings {
    pub dir: PathBuf,
    /// The file in which a run that switches modes notes what it does.
    pub unfinished: PathBuf,
    /// Maximum number of runs; the oldest one goes first.
    pub count_max: usize,
    /// Maximum size of all of them together, in bytes.
    pub bytes_max: u64,
    /// Maximum length of all measurements of a sweep together.
    pub sweep_max: Duration,
}

const COUNT: &str = "CACHEFRONT_RUNS_MAX";
const BYTES: &str = "CACHEFRONT_RUNS_BYTES_MAX";
const COUNT_DEFAULT: u64 = 50;
/// The record of a long sweep has about 100 KB, that of a load 7 KB.
const BYTES_DEFAULT: u64 = 16 << 20;
const SWEEP_MAX_DEFAULT: Duration = Duration::from_secs(1_800);

impl Lookup<'_> {
    /// Returns the data folder.
    pub(super) fn data_dir(&self, flags: &Flags) -> PathBuf {
        self.text("CACHEFRONT_DATA_DIR", &flags.data_dir).unwrap_or("./.cachefront".into()).into()
    }

    pub(super) fn runs(&self, flags: &Flags) -> Result<RunSettings, CliError> {
        let count_max = self.within(COUNT, COUNT_DEFAULT, 1, 1_000)?;
        Ok(RunSettings {
            dir: self.data_dir(flags).join(FOLDER),
            unfinished: self.data_dir(flags).join(UNFINISHED),
            count_max: usize::try_from(count_max).unwrap_or(usize::MAX),
            bytes_max: self.within(BYTES, BYTES_DEFAULT, 1 << 20, 1 << 30)?,
            sweep_max: self.duration("CACHEFRONT_SWEEP_MAX", &None)?.unwrap_or(SWEEP_MAX_DEFAULT),
        })
    }

    fn within(&self, name: &str, default: u64, min: u64, max: u64) -> Result<u64, CliError> {
        match self.environment.get(name).map(str::parse) {
            None => Ok(default),
            Some(Ok(number)) if (min..=max).contains(&number) => Ok(number),
            Some(_) => Err(CliError::new(format!("{name} is not a number from {min} to {max}"))),
        }
    }
}

#[cfg(test)]
mod tests {
    use simulator_cli::Environment;

    use super::*;

    fn runs(pairs: &[(&str, &str)]) -> Result<RunSettings, CliError> {
        Lookup { environment: &Environment::of(pairs) }.runs(&Flags::default())
    }

    #[test]
    fn runs_are_kept_in_the_data_folder_within_bounds() {
        let default = runs(&[("CACHEFRONT_DATA_DIR", "/data")]).expect("defaults");
        assert_eq!((default.dir, default.count_max, default.bytes_max), ("/data/runs".into(), 50, 16 << 20));
        for (name, text) in
            [(COUNT, "0"), (COUNT, "1001"), (COUNT, "many"), (BYTES, "1000"), ("CACHEFRONT_SWEEP_MAX", "long")]
        {
            let message = runs(&[(name, text)]).expect_err(text).to_string();
            assert!(message.contains(name), "{message}");
        }
    }
}
