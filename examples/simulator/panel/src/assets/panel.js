// Starts what keeps a page live.
import { begin } from "./stream.js";
import * as controls from "./controls.js";
import * as users from "./users.js";
import * as charts from "./charts.js";
import * as flow from "./flow.js";
import * as guide from "./guide.js";
import * as race from "./race.js";

controls.begin();
users.begin();
flow.begin();
charts.begin();
race.begin();
guide.begin();
begin({ patched: [controls.patched, users.patched, guide.place], chart: charts.chart, newest: charts.newest, change: flow.change, lost: [controls.lost, charts.lost] });
