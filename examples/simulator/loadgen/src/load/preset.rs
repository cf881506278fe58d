//! Predefined plans.

use std::time::Duration;

use serde::Serialize;

use super::keys::Keys;
use super::plan::LoadPlan;
use super::stage::Stage;

/// A named plan with a fixed shape and adjustable rate and length.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Preset {
    pub name: &'static str,
    /// One line of help text.
    pub description: &'static str,
    /// Default rate, in requests per second.
    pub rate: f64,
    /// Default length.
    #[serde(skip)]
    pub length: Duration,
}

/// All presets, the simplest first.
pub const PRESETS: [Preset; 6] = [
    Preset {
        name: "steady",
        description: "An even stream: 5 % writes, a few rows hotter than the rest",
        rate: 200.0,
        length: Duration::from_secs(60),
    },
    Preset {
        name: "ramp",
        description: "From a tenth of the rate to the whole, then a while at the top: where does it bend?",
        rate: 500.0,
        length: Duration::from_secs(60),
    },
    Preset {
        name: "spike",
        description: "Quiet, then ten times as much at once, then quiet again: does it recover?",
        rate: 1_000.0,
        length: Duration::from_secs(40),
    },
    Preset {
        name: "read-heavy",
        description: "1 % writes over many rows: what a cache is made for",
        rate: 400.0,
        length: Duration::from_secs(60),
    },
    Preset {
        name: "write-heavy",
        description: "Half of the requests write: the hardest case for every cache",
        rate: 200.0,
        length: Duration::from_secs(60),
    },
    Preset {
        name: "hot-key",
        description: "Nine of ten requests go to one row, and it is written all the time",
        rate: 300.0,
        length: Duration::from_secs(60),
    },
];

/// Lists all presets, one per line.
pub fn list() -> String {
    let line = |preset: &Preset| {
        let (name, rate, length) = (preset.name, preset.rate, preset.length);
        format!("{name:<12} {rate:>5}/s {length:>4?}  {}\n", preset.description)
    };
    PRESETS.iter().map(line).collect()
}

impl Preset {
    pub fn named(name: &str) -> Option<&'static Self> {
        PRESETS.iter().find(|preset| preset.name == name)
    }

    /// Returns the plan; `rate` is the highest rate of its shape.
    pub fn plan(&self, rate: Option<f64>, length: Option<Duration>) -> LoadPlan {
        let (rate, length) = (rate.unwrap_or(self.rate), length.unwrap_or(self.length));
        let base = LoadPlan { preset: Some(self.name), ..LoadPlan::default() };
        let steady = vec![Stage::steady(length, rate)];
        let goals = |goals: &[&str]| goals.iter().filter_map(|goal| goal.parse().ok()).collect();
        let usual: &[&str] = &["p99<50ms", "errors<0.1%", "dropped=0", "stale_late=0"];
        match self.name {
            "ramp" => {
                let rise = Stage { length: length.mul_f64(0.75), from: rate / 10.0, to: rate };
                let stages = vec![rise, Stage::steady(length.mul_f64(0.25), rate)];
                LoadPlan { stages, thresholds: goals(&["errors<0.1%", "dropped=0", "stale_late=0"]), ..base }
            }
            "spike" => {
                let quiet = Stage::steady(length.mul_f64(0.375), rate / 10.0);
                let stages = vec![quiet, Stage::steady(length.mul_f64(0.25), rate), quiet];
                LoadPlan { stages, thresholds: goals(&["errors<1%", "dropped=0", "stale_late=0"]), ..base }
            }
            "read-heavy" => {
                LoadPlan { stages: steady, users: 1_000, write_ratio: 0.01, thresholds: goals(usual), ..base }
            }
            "write-heavy" => LoadPlan { stages: steady, write_ratio: 0.5, thresholds: goals(usual), ..base },
            "hot-key" => {
                let keys = Keys::Hotspot { rows: 0.01, requests: 0.9 };
                LoadPlan { stages: steady, keys, write_ratio: 0.1, thresholds: goals(usual), ..base }
            }
            _ => LoadPlan { stages: steady, thresholds: goals(usual), ..base },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_preset_can_run_at_any_rate_and_length() {
        for preset in PRESETS {
            let plan = preset.plan(None, None);
            plan.check().expect(preset.name);
            assert_eq!((plan.rate_max(), plan.length()), (Some(preset.rate), preset.length), "{}", preset.name);
            assert!(plan.thresholds.len() >= 2, "a goal of {} cannot be read", preset.name);
            let short = preset.plan(Some(50.0), Some(Duration::from_secs(4)));
            short.check().expect(preset.name);
            assert_eq!((short.rate_max(), short.length()), (Some(50.0), Duration::from_secs(4)));
            assert_eq!(Preset::named(preset.name).map(|found| found.name), Some(preset.name));
        }
        assert!(Preset::named("none").is_none());
    }
}
