//! Latencies in HdrHistogram's text format, which its plotter reads.

use std::fmt::Write;

use super::outcome::LoadResult;

/// Number of output lines per halving of the distance to 100 %.
const STEPS: u32 = 5;

/// Formats the distribution of latencies, in ms.
pub(super) fn text(result: &LoadResult) -> String {
    let mut text = "       Value     Percentile TotalCount 1/(1-Percentile)\n\n".to_owned();
    let total: u64 = result.histogram.iter().map(|(_, count)| count).sum();
    let (mut below, mut next, mut step) = (0, 0.0, 0_u32);
    for (value, count) in &result.histogram {
        below += count;
        let reached = below as f64 / total as f64;
        let is_last = below == total;
        if reached < next && !is_last {
            continue;
        }
        let millis = *value as f64 / 1e3;
        // Writing to a `String` cannot fail.
        let _ = match is_last {
            true => writeln!(text, "{millis:12.3} {:2.12} {below:10}", 1.0),
            false => writeln!(text, "{millis:12.3} {reached:2.12} {below:10} {:14.2}", 1.0 / (1.0 - reached)),
        };
        while next <= reached && step < 64 * STEPS {
            step += 1;
            next = 1.0 - 0.5_f64.powf(f64::from(step) / f64::from(STEPS));
        }
    }
    let all = &result.latency.all;
    let _ = writeln!(text, "#[Mean    = {:12.3}, Count          = {total:12}]", all.mean_ms);
    let _ = writeln!(text, "#[Max     = {:12.3}, Unit           =           ms]", all.max_ms);
    text
}
