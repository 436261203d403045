// The page: follows the feed, and shows what the address asks for.

import { Charts } from "./charts.js";
import { h, number, patch } from "./dom.js";
import { viewOf } from "./details.js";
import * as overview from "./overview.js";
import { offer, startPlayground } from "./playground.js";
import { ask, follow, Refused, useToken } from "./wire.js";

const DETAIL_MS = 2000;
const find = (id) => document.getElementById(id);
const config = JSON.parse(find("page-config").textContent);
let newest = null;
let paused = false;
let following = new AbortController();
let detailAt = 0;
let charts = null;

function show(snapshot) {
  newest = snapshot;
  if (paused) return;
  charts.add({ at_seconds: snapshot.at_seconds, rates: snapshot.rates });
  patch(find("figures"), overview.figures(snapshot));
  patch(find("warnings"), overview.warnings(snapshot.warnings));
  find("warnings-part").hidden = !snapshot.warnings.length;
  find("replica").textContent = `${snapshot.version} · ${snapshot.replica} · ${snapshot.ready ? "ready" : "not ready"} · up ${number(snapshot.up_seconds / 60, 0)} min`;
  if (config.gateway) offer(snapshot);
  if (viewOf(location.hash)) return refreshDetail();
  patch(find("models"), [...overview.models(snapshot), snapshot.pods_left_out ? h("p", { key: "more" }, `${snapshot.pods_left_out} further pods are not shown.`) : null].filter(Boolean));
  patch(find("decisions"), [overview.decisions(snapshot.decisions)]);
  patch(find("refusals"), [overview.refusals(snapshot.refusals)]);
  patch(find("users"), [overview.users(snapshot.users)]);
}

async function refreshDetail(isNew = false) {
  const view = viewOf(location.hash);
  const now = performance.now();
  if (!view || (!isNew && now - detailAt < DETAIL_MS)) return;
  detailAt = now;
  const asked = location.hash;
  let parts;
  try {
    parts = await view.show(newest);
  } catch (error) {
    if (error instanceof Refused) return;
    parts = [h("p", { class: "empty" }, error.message)];
  }
  if (asked === location.hash) patch(find("detail"), parts.filter(Boolean));
}

function go() {
  const view = viewOf(location.hash);
  find("overview").hidden = Boolean(view);
  find("detail-part").hidden = !view;
  document.title = view ? `${view.title} – gateway` : "gateway";
  if (view) {
    patch(find("detail"), [h("h2", {}, view.title)]);
    refreshDetail(true);
    find("detail-part").focus();
    scrollTo(0, 0);
  } else {
    charts?.resize();
    if (newest) show(newest);
  }
}

function state(word, why = "") {
  const words = { live: "live", lost: "no connection", refused: "token wanted" };
  const told = find("state");
  if (told.textContent !== words[word]) told.textContent = words[word];
  told.className = `state ${word}`;
  told.title = why;
  find("sign-in").hidden = word !== "refused";
  find("main").hidden = word === "refused";
  if (word === "refused") {
    find("sign-in-told").textContent = why;
    find("token").focus();
  }
}

async function start() {
  following.abort();
  following = new AbortController();
  follow(show, state, following.signal);
  try {
    charts.begin(await ask("/debug/live/history"));
  } catch { /* The feed says what is wrong. */ }
}

find("sign-in").addEventListener("submit", (event) => {
  event.preventDefault();
  useToken(find("token").value.trim());
  find("token").value = "";
  start();
});
find("search").addEventListener("submit", (event) => {
  event.preventDefault();
  const id = find("request-id").value.trim();
  if (id) location.hash = `#/request/${encodeURIComponent(id)}`;
});
find("pause").addEventListener("click", () => {
  paused = !paused;
  find("pause").setAttribute("aria-pressed", String(paused));
  if (!paused && newest) show(newest);
});
addEventListener("hashchange", go);
// A page that nobody sees asks for nothing.
document.addEventListener("visibilitychange", () => (document.hidden ? following.abort() : start()));

charts = new Charts(find("charts"));
if (config.gateway) startPlayground(config.gateway);
go();
start();
