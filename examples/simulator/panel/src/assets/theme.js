// The theme that was chosen by hand stands before the first paint.
"use strict";
{
  const chosen = localStorage.getItem("cachefront-theme");
  if (chosen === "dark" || chosen === "light") document.documentElement.dataset.theme = chosen;
}
