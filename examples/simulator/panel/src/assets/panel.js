// Starts what keeps a page live.
import { begin } from "./stream.js";
import * as controls from "./controls.js";
import * as users from "./users.js";
import * as charts from "./charts.js";
import * as flow from "./flow.js";
import * as guide from "./guide.js";
import * as past from "./past.js";
import * as race from "./race.js";
import * as writes from "./writes.js";

controls.begin();
users.begin();
flow.begin();
charts.begin();
past.begin();
race.begin();
guide.begin();
writes.begin();
begin({
  patched: [controls.patched, users.patched, guide.place, past.patched],
  chart: past.chart,
  newest: past.newest,
  change: flow.change,
  lost: [controls.lost, past.lost],
});
