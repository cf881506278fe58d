//! The runs that the panel starts, and the choices in their forms.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use loadgen::experiment::ExperimentControl;
use loadgen::load::preset::Preset;
use loadgen::load::threshold::Threshold;
use loadgen::load::{LoadControl, LoadPlan, PRESETS, Target};
use loadgen::sweep::plan::{EACH_DEFAULT, SEEDS_DEFAULT, parse_ttls};
use loadgen::sweep::{SweepControl, SweepPlan};
use serde::Deserialize;
use simulator_cli::SecretString;
use simulator_model::settings::Settings;

use super::results::Results;

/// Why the mode cannot be switched during a comparison.
pub(super) const COMPARING: &str =
    "An A/B run or a sweep is in progress, and it switches the mode itself: wait for its end, or stop it.";

/// The runs that the panel starts.
#[derive(Debug)]
pub(super) struct Runs {
    pub(super) load: LoadControl,
    pub(super) experiment: ExperimentControl,
    pub(super) sweep: SweepControl,
    /// Maximum length of all measurements of a sweep together.
    pub(super) sweep_max: Duration,
    pub(super) results: Results,
    /// The last choices for load and comparison, made in any tab.
    chosen: Mutex<[Chosen; 2]>,
    chosen_sweep: Mutex<ChosenSweep>,
    /// The goals of the running load, or of the last one.
    goals: Mutex<Vec<Threshold>>,
}

impl Runs {
    pub(super) fn new(settings: &Settings) -> Self {
        let token: Option<SecretString> = settings.client_token().cloned();
        // The rows are of no use to people, and would push their own out of sight.
        let load = LoadControl::new(Target { url: settings.api_url.clone(), token }).removing_rows();
        let load = load.noting_in(&settings.runs.unfinished);
        Self {
            experiment: ExperimentControl::new(&load),
            sweep: SweepControl::new(&load),
            sweep_max: settings.runs.sweep_max,
            load,
            results: Results::default(),
            chosen: Mutex::new([Chosen::of(&PRESETS[0], false), Chosen::of(&PRESETS[0], true)]),
            chosen_sweep: Mutex::default(),
            goals: Mutex::default(),
        }
    }

    /// Returns what the form of the load shows.
    pub(super) fn chosen_load(&self) -> Chosen {
        self.chosen(0)
    }

    /// Returns what the form of the comparison shows.
    pub(super) fn chosen_experiment(&self) -> Chosen {
        self.chosen(1)
    }

    /// Returns what the form of the sweep shows.
    pub(super) fn chosen_sweep(&self) -> ChosenSweep {
        self.chosen_sweep.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn choose_sweep(&self, chosen: &ChosenSweep) {
        *self.chosen_sweep.lock().unwrap_or_else(PoisonError::into_inner) = chosen.clone();
    }

    fn chosen(&self, at: usize) -> Chosen {
        self.chosen.lock().unwrap_or_else(PoisonError::into_inner)[at].clone()
    }

    pub(super) fn choose(&self, at: usize, chosen: &Chosen) {
        self.chosen.lock().unwrap_or_else(PoisonError::into_inner)[at] = chosen.clone();
    }

    /// Returns the goals of the running load, or of the last one.
    pub(super) fn goals(&self) -> Vec<Threshold> {
        self.goals.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn set_goals(&self, goals: Vec<Threshold>) {
        *self.goals.lock().unwrap_or_else(PoisonError::into_inner) = goals;
    }

    /// Returns true during a comparison or a sweep, which switch the mode themselves.
    pub(super) fn is_comparing(&self) -> bool {
        self.experiment.watch().borrow().phase.is_active() || self.sweep.watch().borrow().phase.is_active()
    }
}

/// The choices of a form.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Chosen {
    pub(super) preset: String,
    pub(super) rate: f64,
    pub(super) seconds: u64,
}

impl Chosen {
    /// A preset with its own rate and length.
    fn of(preset: &Preset, each: bool) -> Self {
        Self { preset: preset.name.to_owned(), rate: preset.rate, seconds: Self::seconds_of(preset, each) }
    }

    /// Returns a preset's own length; each side of a comparison takes half of it.
    pub(super) fn seconds_of(preset: &Preset, each: bool) -> u64 {
        preset.length.as_secs() / if each { 2 } else { 1 }
    }

    /// Returns the plan of the chosen load.
    ///
    /// # Errors
    /// What is wrong, in words for people.
    pub(super) fn plan(&self) -> Result<LoadPlan, String> {
        let preset = PRESETS.iter().find(|preset| preset.name == self.preset);
        let preset = preset.ok_or_else(|| format!("There is no preset {}.", self.preset))?;
        if !(1.0..=20_000.0).contains(&self.rate) || !(1..=3_600).contains(&self.seconds) {
            return Err("A rate is 1 to 20,000 requests a second, a length 1 to 3,600 seconds.".into());
        }
        Ok(preset.plan(Some(self.rate), Some(Duration::from_secs(self.seconds))))
    }
}

/// The lifetimes that the form shows first.
const TTLS: &str = "1s,5s,30s,300s";

/// The choices of the form of the sweep.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct ChosenSweep {
    pub(super) preset: String,
    pub(super) rate: f64,
    pub(super) seconds: u64,
    /// Separated by commas.
    pub(super) ttls: String,
    pub(super) seeds: u64,
}

impl Default for ChosenSweep {
    fn default() -> Self {
        let (preset, seconds) = ("steady".to_owned(), EACH_DEFAULT.as_secs());
        Self { preset, rate: 200.0, seconds, ttls: TTLS.to_owned(), seeds: SEEDS_DEFAULT }
    }
}

impl ChosenSweep {
    /// Returns the plan of the chosen sweep.
    ///
    /// # Errors
    /// What is wrong, in words for people.
    pub(super) fn plan(&self) -> Result<SweepPlan, String> {
        let Self { preset, rate, seconds, ttls, seeds } = self.clone();
        let load = Chosen { preset, rate, seconds }.plan()?;
        Ok(SweepPlan { load, ttls: parse_ttls(&ttls)?, seeds })
    }
}
