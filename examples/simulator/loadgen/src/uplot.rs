//! The chart library that reports and the control panel embed.
//!
//! Each has a script of its own around it: a report draws once, from data in its own file and with the colours of its
//! style sheet, and has axes; the panel draws small charts again and again, which slide with the time, show marks, and turn
//! grey when the data is old. The call of uPlot is all that they have in common.

/// uPlot's script.
pub const SCRIPT: &str = include_str!("../vendor/uPlot.iife.min.js");

/// uPlot's style sheet.
pub const STYLE: &str = include_str!("../vendor/uPlot.min.css");

/// uPlot's licence, to be shown wherever the script is embedded.
pub const LICENCE: &str = include_str!("../vendor/uPlot-LICENSE");
