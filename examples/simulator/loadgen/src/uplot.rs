//! The chart library that reports and the control panel embed.

/// uPlot's script.
pub const SCRIPT: &str = include_str!("../vendor/uPlot.iife.min.js");

/// uPlot's style sheet.
pub const STYLE: &str = include_str!("../vendor/uPlot.min.css");

/// uPlot's licence, to be shown wherever the script is embedded.
pub const LICENCE: &str = include_str!("../vendor/uPlot-LICENSE");
