//! The command line of the load generator.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};
use simulator_cli::{CliError, duration};

use super::keys::Keys;
use super::output::OutputFlags;
use super::plan::{LoadPlan, Model};
use super::preset::{PRESETS, Preset};
use super::stage::{self, Stage};

/// What the load generator does. Flags override the preset.
#[derive(Clone, Debug, Default, Args)]
#[command(after_help = "Exit codes: 0 when every goal was met, 99 when one was missed, 98 when requests were dropped \
                        because the rate could not be kept (the run is not valid then), 1 when it could not run. \
                        A token of CACHEFRONT_API_TOKENS that may write is used.")]
pub struct LoadFlags {
    #[command(flatten)]
    pub(super) plan: PlanFlags,
    #[command(flatten)]
    pub(super) output: OutputFlags,
    /// Write the latencies in HdrHistogram's text format; - for standard output.
    #[arg(long, value_name = "FILE")]
    pub(super) hgrm: Option<PathBuf>,
}

/// What is asked for, and how often.
#[derive(Clone, Debug, Default, Args)]
pub struct PlanFlags {
    /// Begin with a ready-made plan: steady, ramp, spike, read-heavy, write-heavy, hot-key; `list` describes them.
    #[arg(long, value_name = "NAME")]
    pub(super) preset: Option<String>,
    /// open: requests are due at fixed moments. closed: each client waits for its answer. [default: open]
    #[arg(long, value_enum)]
    model: Option<ModelName>,
    /// Requests for each second. [default: 200]
    #[arg(long)]
    rate: Option<f64>,
    /// How long to measure. [default: 30s]
    #[arg(long, value_name = "DURATION")]
    duration: Option<String>,
    /// Parts of different rate, instead of --rate and --duration: 10s@100,30s@100..1000,10s@1000.
    #[arg(long, value_name = "STAGES", conflicts_with_all = ["rate", "duration"])]
    stages: Option<String>,
    /// Run this long before the measuring begins. [default: none]
    #[arg(long, value_name = "DURATION")]
    warmup: Option<String>,
    /// How many rows are read and written. They are the generator's own; missing ones are created. [default: 100]
    #[arg(long)]
    users: Option<usize>,
    /// Which rows are asked for. [default: zipf]
    #[arg(long, value_enum)]
    keys: Option<KeysName>,
    /// How uneven zipf and latest are: 0 for all alike, 1.1 for a hot few. [default: 1.1]
    #[arg(long)]
    skew: Option<f64>,
    /// hotspot: the part of the rows that is hot. [default: 0.1]
    #[arg(long, value_name = "PART")]
    hot_rows: Option<f64>,
    /// hotspot: the part of the requests that they get. [default: 0.9]
    #[arg(long, value_name = "PART")]
    hot_requests: Option<f64>,
    /// The part of requests that are writes, 0 to 1. [default: 0.05]
    #[arg(long, value_name = "PART")]
    write_ratio: Option<f64>,
    /// The same seed asks for the same rows in the same order. [default: 42]
    #[arg(long)]
    seed: Option<u64>,
    /// closed: how many clients. [default: 16]
    #[arg(long)]
    clients: Option<usize>,
    /// open: at most this many requests on their way at once. [default: 1024]
    #[arg(long)]
    in_flight: Option<usize>,
    /// open: a request that cannot be sent within this time after it was due is dropped. [default: 1s]
    #[arg(long, value_name = "DURATION")]
    start_within: Option<String>,
    /// A request that takes longer has failed. [default: 10s]
    #[arg(long, value_name = "DURATION")]
    request_timeout: Option<String>,
    /// How many rows the staleness probe writes and then reads until they are fresh; 0 turns it off. [default: 8]
    #[arg(long)]
    probe_rows: Option<usize>,
    /// The probe's pause between two writes to one row. [default: 200ms]
    #[arg(long, value_name = "DURATION")]
    probe_pause: Option<String>,
    /// Stale reads later than this after the write count as late, too. [default: 50ms]
    #[arg(long, value_name = "DURATION")]
    grace: Option<String>,
    /// A goal, may be repeated: 'p99<20ms', 'errors<0.1%', 'dropped=0', 'stale=0', 'stale_late=0', 'hits>90%',
    /// 'rate>950', 'window_p99<50ms'. Replaces the preset's goals.
    #[arg(long = "threshold", value_name = "GOAL")]
    thresholds: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum ModelName {
    Open,
    Closed,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum KeysName {
    Zipf,
    Uniform,
    Hotspot,
    Latest,
}

impl PlanFlags {
    /// Returns true if the presets are to be listed instead of a run.
    pub fn lists_presets(&self) -> bool {
        self.preset.as_deref() == Some("list")
    }

    /// Returns the preset's plan, or the default one, with the values of the flags.
    ///
    /// # Errors
    /// A line that names the flag that cannot be used.
    pub fn plan(&self) -> Result<LoadPlan, CliError> {
        self.plan_of(None)
    }

    /// As [`plan`](Self::plan), with another default length.
    ///
    /// # Errors
    /// A line that names the flag that cannot be used.
    pub fn plan_of(&self, default_length: Option<Duration>) -> Result<LoadPlan, CliError> {
        let length = time("--duration", self.duration.as_deref())?.or(default_length);
        let mut plan = match &self.preset {
            Some(name) => preset(name)?.plan(self.rate, length),
            None => {
                let LoadPlan { mut stages, .. } = LoadPlan::default();
                if let Some(stage) = stages.first_mut() {
                    *stage = Stage::steady(length.unwrap_or(stage.length), self.rate.unwrap_or(stage.from));
                }
                LoadPlan { stages, ..LoadPlan::default() }
            }
        };
        if let Some(stages) = &self.stages {
            plan.stages = stage::parse(stages).map_err(CliError::new)?;
        }
        plan.model = self.model(plan.model)?;
        plan.keys = self.keys(plan.keys);
        plan.warmup = time("--warmup", self.warmup.as_deref())?.unwrap_or(plan.warmup);
        plan.users = self.users.unwrap_or(plan.users);
        plan.write_ratio = self.write_ratio.unwrap_or(plan.write_ratio);
        plan.seed = self.seed.unwrap_or(plan.seed);
        plan.request_timeout =
            time("--request-timeout", self.request_timeout.as_deref())?.unwrap_or(plan.request_timeout);
        plan.probe.rows = self.probe_rows.unwrap_or(plan.probe.rows);
        plan.probe.pause = time("--probe-pause", self.probe_pause.as_deref())?.unwrap_or(plan.probe.pause);
        plan.grace = time("--grace", self.grace.as_deref())?.unwrap_or(plan.grace);
        if !self.thresholds.is_empty() {
            let goals = self.thresholds.iter().map(|text| text.parse());
            plan.thresholds = goals.collect::<Result<_, String>>().map_err(CliError::new)?;
        }
        plan.check().map_err(CliError::new)?;
        Ok(plan)
    }

    fn model(&self, default: Model) -> Result<Model, CliError> {
        let named = self.model.unwrap_or(match default {
            Model::Open { .. } => ModelName::Open,
            Model::Closed { .. } => ModelName::Closed,
        });
        match named {
            ModelName::Closed if self.rate.is_some() || self.stages.is_some() => {
                Err(CliError::new("--model closed has no rate: its clients send as fast as they are answered"))
            }
            ModelName::Closed => Ok(Model::Closed { clients: self.clients.unwrap_or(16) }),
            ModelName::Open if self.clients.is_some() => Err(CliError::new("--clients needs --model closed")),
            ModelName::Open => Ok(Model::Open {
                in_flight: self.in_flight.unwrap_or(1_024),
                start_within: time("--start-within", self.start_within.as_deref())?.unwrap_or(Duration::from_secs(1)),
            }),
        }
    }

    fn keys(&self, default: Keys) -> Keys {
        let named = self.keys.unwrap_or(match default {
            Keys::Zipf { .. } => KeysName::Zipf,
            Keys::Uniform => KeysName::Uniform,
            Keys::Hotspot { .. } => KeysName::Hotspot,
            Keys::Latest { .. } => KeysName::Latest,
        });
        let exponent = self.skew.unwrap_or(match default {
            Keys::Zipf { exponent } | Keys::Latest { exponent } => exponent,
            Keys::Uniform | Keys::Hotspot { .. } => 1.1,
        });
        let (rows, requests) = match default {
            Keys::Hotspot { rows, requests } => (rows, requests),
            _ => (0.1, 0.9),
        };
        match named {
            KeysName::Zipf => Keys::Zipf { exponent },
            KeysName::Uniform => Keys::Uniform,
            KeysName::Hotspot => {
                Keys::Hotspot { rows: self.hot_rows.unwrap_or(rows), requests: self.hot_requests.unwrap_or(requests) }
            }
            KeysName::Latest => Keys::Latest { exponent },
        }
    }
}

fn preset(name: &str) -> Result<&'static Preset, CliError> {
    Preset::named(name).ok_or_else(|| {
        let names: Vec<&str> = PRESETS.iter().map(|preset| preset.name).collect();
        CliError::new(format!("--preset {name} is unknown: choose one of {}", names.join(", ")))
    })
}

fn time(flag: &str, text: Option<&str>) -> Result<Option<Duration>, CliError> {
    text.map(|text| duration::parse(flag, text)).transpose()
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        flags: LoadFlags,
    }

    fn plan(arguments: &[&str]) -> Result<LoadPlan, CliError> {
        let line = Line::try_parse_from(std::iter::once("load").chain(arguments.iter().copied())).expect("flags");
        line.flags.plan.plan()
    }

    #[test]
    fn nothing_given_is_the_default() {
        assert_eq!(plan(&[]).expect("a plan"), LoadPlan::default());
    }

    #[test]
    fn flags_override_the_preset() {
        let changed = plan(&["--preset", "hot-key", "--rate=50", "--seed=7", "--hot-requests=0.5"]).expect("a plan");
        assert_eq!((changed.preset, changed.seed, changed.rate_max()), (Some("hot-key"), 7, Some(50.0)));
        assert_eq!(changed.keys, Keys::Hotspot { rows: 0.01, requests: 0.5 });
        let goals = plan(&["--preset=steady", "--threshold", "p99<5ms"]).expect("a plan").thresholds;
        assert_eq!(goals.iter().map(ToString::to_string).collect::<Vec<_>>(), ["p99<5ms"]);
        let staged = plan(&["--stages=1s@10,2s@10..30", "--keys=uniform"]).expect("a plan");
        assert_eq!((staged.length(), staged.keys), (Duration::from_secs(3), Keys::Uniform));
        let closed = plan(&["--model=closed", "--clients=3", "--duration=5s"]).expect("a plan");
        assert_eq!((closed.model, closed.rate_max()), (Model::Closed { clients: 3 }, None));
    }

    #[test]
    fn what_does_not_fit_is_named() {
        for (arguments, hint) in [
            (&["--preset=fast"][..], "steady, ramp"),
            (&["--duration=30"], "30s"),
            (&["--clients=3"], "--model closed"),
            (&["--model=closed", "--rate=5"], "no rate"),
            (&["--threshold=p99"], "p99<20ms"),
            (&["--rate=0"], "--rate"),
            (&["--skew=11"], "--skew"),
        ] {
            let message = plan(arguments).expect_err(hint).to_string();
            assert!(message.contains(hint), "{message}");
        }
    }
}
