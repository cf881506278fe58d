//! The decoder's settings under the names that the log has.

use cachefront_core::event::lower;
use cachefront_core::source::TableFilter;

use crate::decode::DecoderSettings;
use crate::spelling::Spellings;

/// Returns the settings with the types of columns under all names, and with tables of topics under the name of `logged`.
pub(super) fn settings(spellings: &Spellings, settings: &DecoderSettings, logged: &TableFilter) -> DecoderSettings {
    let mut settings = settings.clone();
    for (name, mapped) in spellings.iter() {
        let typed = settings.columns.iter().filter_map(|(column, kind)| {
            let column = column.strip_prefix(mapped.as_str())?.strip_prefix('.')?;
            Some((format!("{name}.{column}"), *kind))
        });
        for (column, kind) in typed.collect::<Vec<_>>() {
            settings.columns.entry(column).or_insert(kind);
        }
    }
    let is_logged = |name: &str| logged.iter().any(|(table, _)| table.as_str() == name);
    for table in settings.tables.values_mut() {
        let lower = lower(table);
        if !is_logged(table) && is_logged(&lower) {
            *table = lower;
        }
    }
    settings
}

#[cfg(test)]
mod tests {
    use cachefront_core::source::Columns;

    use super::*;
    use crate::decode::ColumnType;

    #[test]
    fn settings_hold_under_all_names() {
        let mut mapped = TableFilter::new();
        for table in ["Shop.Users", "shop.orders"] {
            mapped.add(table.into(), &Columns::All);
        }
        let spellings = Spellings::new(&mapped);
        let configured = DecoderSettings::default()
            .with_column("Shop.Users.id", ColumnType::Unsigned)
            .with_table("routed", "SHOP.Orders")
            .with_table("exact", "Shop.Users");
        let settings = settings(&spellings, &configured, &spellings.logged(&mapped));
        assert_eq!(settings.columns.get("shop.users.id"), Some(&ColumnType::Unsigned));
        let tables = (settings.tables["routed"].as_str(), settings.tables["exact"].as_str());
        assert_eq!(tables, ("shop.orders", "Shop.Users"));
    }
}
