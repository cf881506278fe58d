//! The table of settings says what the file says that users copy.

use cachefront_testkit::stack;

use crate::settings_table;

#[test]
fn the_table_of_settings_is_up_to_date() {
    let (path, table) = (stack::workspace_root().join("docs/configuration.md"), settings_table::table());
    if std::env::var_os("BLESS").is_some() {
        std::fs::write(&path, &table).expect("the page can be written");
    }
    let page = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(page == table, "docs/configuration.md is out of date: BLESS=1 cargo test -p cachefront-tests --test tidy");
    assert!(table.matches("CACHEFRONT_").count() > 15, "the table lacks settings");
}
