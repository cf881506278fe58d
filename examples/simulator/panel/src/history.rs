//! What the charts show: samples and marks.

use serde::ser::SerializeTuple;
use serde::{Deserialize, Serialize, Serializer};

/// One point of all charts. An unknown value is null and leaves a gap in its line.
///
/// Its text form is the list of its values in this order, rounded to hundredths: it is sent to every tab once a second, and
/// hundreds of them are saved at a time. It is read from a list or, as earlier versions saved it, from names and values.
#[derive(Clone, Copy, Debug, Default, PartialEq, Deserialize)]
pub(super) struct Sample {
    /// Seconds since 1970.
    pub(super) t: f64,
    /// Percentage of reads that were hits.
    pub(super) hit: Option<f64>,
    /// Loads from the database per second.
    pub(super) loads: Option<f64>,
    /// Reads per second.
    pub(super) reads: Option<f64>,
    /// From commit to invalidation, ms.
    pub(super) lag50: Option<f64>,
    pub(super) lag99: Option<f64>,
    /// How long the oldest stale entry has been stale, s.
    pub(super) stale: Option<f64>,
    /// Duration of requests, ms.
    pub(super) p50: Option<f64>,
    pub(super) p99: Option<f64>,
    /// From the store to the tier of the process that reads, on average, ms.
    pub(super) bus_mean: Option<f64>,
}

/// Number of values of a sample.
const VALUES: usize = 10;

impl Serialize for Sample {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self { t, hit, loads, reads, lag50, lag99, stale, p50, p99, bus_mean } = *self;
        let mut list = serializer.serialize_tuple(VALUES)?;
        for value in [Some(t), hit, loads, reads, lag50, lag99, stale, p50, p99, bus_mean] {
            list.serialize_element(&value.map(Rounded))?;
        }
        list.end()
    }
}

/// A number with at most two decimals, and without any if it is whole.
struct Rounded(f64);

impl Serialize for Rounded {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let hundredths = (self.0 * 100.0).round();
        match hundredths % 100.0 == 0.0 && hundredths.abs() < 1e15 {
            true => serializer.serialize_i64((hundredths / 100.0) as i64),
            false => serializer.serialize_f64(hundredths / 100.0),
        }
    }
}

/// An event that the charts mark.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Mark {
    /// Seconds since 1970.
    pub(super) t: f64,
    pub(super) what: String,
}

/// All that the charts show.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct History {
    pub(super) samples: Vec<Sample>,
    pub(super) marks: Vec<Mark>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_are_short_and_read_in_both_forms() {
        let sample = Sample { t: 1_795_997_412.236_53, hit: Some(98.765), loads: Some(0.0), ..Sample::default() };
        let text = serde_json::to_string(&sample).expect("JSON");
        assert_eq!(text, "[1795997412.24,98.77,0,null,null,null,null,null,null,null]");
        let read: Sample = serde_json::from_str(&text).expect("a list");
        assert_eq!((read.t, read.hit, read.p50), (1_795_997_412.24, Some(98.77), None));
        let earlier = "{\"t\":5.5,\"hit\":null,\"loads\":1.0,\"reads\":2.0,\"lag50\":null,\"lag99\":null,\"stale\":0.0,\
                       \"p50\":null,\"p99\":null,\"bus_mean\":null}";
        let earlier: Sample = serde_json::from_str(earlier).expect("names and values");
        assert_eq!((earlier.t, earlier.loads, earlier.stale), (5.5, Some(1.0), Some(0.0)));
    }
}
