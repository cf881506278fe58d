// What was chosen by hand is set before the first paint: the theme, and whether cards are explained.
"use strict";
{
  const chosen = localStorage.getItem("cachefront-theme");
  if (chosen === "dark" || chosen === "light") document.documentElement.dataset.theme = chosen;
  document.documentElement.dataset.explain = localStorage.getItem("cachefront-explain") === "off" ? "off" : "on";
}
