//! The control panel in a real Chromium, driven through WebDriver: both demos by clicking, several tabs that agree,
//! an API that dies and comes back, a phone's width, the keyboard. Screenshots go to `target/screenshots`.
//!
//! `chromium` and `chromedriver` have to be installed; without them the tests fail.

mod accessible;
mod charts;
mod chrome;
mod connector;
mod demos;
mod explain;
mod faults;
mod guide;
mod login;
mod outage;
mod pace;
mod past;
mod patches;
mod race;
mod runs;
mod scene;
mod servers;
mod tabs;
mod users;
mod writes;
