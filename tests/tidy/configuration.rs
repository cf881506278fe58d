//! The table of settings says what the file says that users copy.

use crate::settings_table;
use crate::tree::is_up_to_date;

#[test]
fn the_table_of_settings_is_up_to_date() {
    let table = settings_table::table();
    is_up_to_date("docs/configuration.md", &table);
    assert!(table.matches("CACHEFRONT_").count() > 15, "the table lacks settings");
}
