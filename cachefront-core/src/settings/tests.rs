//! Settings in a file.

use super::*;

fn of_file(text: &str) -> CacheSettings {
    serde_json::from_str(text).expect("settings")
}

#[test]
fn a_load_breaker_of_a_file_has_the_defaults_of_loads() {
    let on = of_file(r#"{"load_breaker": {"enabled": true}, "store_breaker": {"failures_min": 7}}"#);
    assert_eq!(on.load_breaker, BreakerSettings::of_loads().with_enabled(true));
    assert_eq!(on.store_breaker, BreakerSettings::of_store().with_failures_min(7));
    let slow = of_file(r#"{"load_breaker": {"slow": {"secs": 10, "nanos": 0}}}"#);
    assert_eq!(slow.load_breaker, BreakerSettings::of_loads().with_slow(Duration::from_secs(10)), "it stays off");
    assert_eq!(of_file(r#"{"load_breaker": {}}"#), CacheSettings::default());
    serde_json::from_str::<CacheSettings>(r#"{"load_breaker": {"enable": true}}"#).expect_err("an unknown field");
}

#[test]
fn settings_are_read_by_field_and_unknown_fields_are_refused() {
    let settings = of_file(r#"{"loads_max": 16, "on_lag": {"shorten_ttl": {"secs": 5, "nanos": 0}}}"#);
    let on_lag = OnLag::ShortenTtl(Duration::from_secs(5));
    assert_eq!(settings, CacheSettings::default().with_loads_max(16).with_on_lag(on_lag));
    assert_eq!(of_file(r#"{"on_lag": "bypass"}"#).on_lag, OnLag::Bypass);
    serde_json::from_str::<CacheSettings>(r#"{"load_max": 16}"#).expect_err("an unknown field");

    let breaker = BreakerSettings::of_loads().with_enabled(true).with_window(Duration::from_millis(1_500));
    let all = CacheSettings::default().with_early_refresh(1.5).with_load_breaker(breaker);
    let text = serde_json::to_string(&all).expect("text");
    assert_eq!(of_file(&text), all, "what is written is read");

    let cdc: CdcSettings = serde_json::from_str(r#"{"row_images_max": 3}"#).expect("settings");
    assert_eq!(cdc, CdcSettings::default().with_row_images_max(3));
    serde_json::from_str::<CdcSettings>(r#"{"heartbeats": 3}"#).expect_err("an unknown field");
    let inspect: InspectSettings = serde_json::from_str(r#"{"repair": true}"#).expect("settings");
    assert_eq!(inspect, InspectSettings::default().with_repair(true));
    serde_json::from_str::<InspectSettings>(r#"{"repairs": true}"#).expect_err("an unknown field");
}
