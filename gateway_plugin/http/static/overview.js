// What everybody sees first: figures, models with their pods, decisions, refusals, users.

import { clock, h, link, number, percent, row, seconds, table } from "./dom.js";

const HEALTH = { closed: ["ok", "well"], open: ["bad", "left out"], half_open: ["warn", "being probed"], asleep: ["idle", "asleep"] };
export const healthOf = (pod) => (pod.ready ? HEALTH[pod.health] ?? ["warn", pod.health] : ["bad", "not ready"]);

const fact = (name, value) => h("div", {}, h("dt", {}, name), h("dd", {}, value));

export function figures({ rates, limiter, users }) {
  const store = { off: "off", memory: "in memory", redis: "Redis" }[limiter.store] ?? limiter.store;
  return [
    fact("Requests", `${number(rates.requests_per_second, 1)}/s`),
    fact("In flight", number(rates.inflight_requests)),
    fact("Refused", `${number(rates.refusals_per_second, 1)}/s`),
    fact("Failed", `${number(rates.failures_per_second, 1)}/s`),
    fact("TTFT p50", seconds(rates.ttft_p50_seconds)),
    fact("TTFT p95", seconds(rates.ttft_p95_seconds)),
    fact("Output tokens", `${number(rates.output_tokens_per_second)}/s`),
    h("div", { class: limiter.state === "ok" ? "" : "bad" }, h("dt", {}, "Limits"), h("dd", {}, limiter.state === "ok" ? store : `${store} ${limiter.state}: ${limiter.policy}`)),
  ];
}

export const warnings = (list) => list.map((one) => h("li", { key: `${one.code} ${one.about}` }, h("strong", {}, `${one.about}: `), one.message, h("span", { class: "fix" }, one.fix)));

export function models(snapshot) {
  return snapshot.models.map((model) => {
    const pods = snapshot.pods.filter((pod) => pod.models.includes(model.name));
    const well = pods.filter((pod) => healthOf(pod)[0] === "ok").length;
    return h("section", { key: model.name, class: "model", "aria-label": `Model ${model.name}` },
      h("h3", {}, link("model", model.name), h("span", { class: "told" }, ` ${well} of ${pods.length} pods well · ${number(model.requests_per_second, 1)} requests/s · TTFT ${seconds(model.ttft_p50_seconds)}, p95 ${seconds(model.ttft_p95_seconds)} · ${number(model.output_tokens_per_second)} tokens/s${model.waiting_requests ? ` · ${model.waiting_requests} wait here` : ""}`)),
      h("ul", { class: "tiles" }, pods.map(tile)));
  });
}

export function tile(pod) {
  const [state, word] = healthOf(pod);
  return h("li", { key: pod.address },
    h("a", { class: `tile ${state}`, href: `#/pod/${encodeURIComponent(pod.name)}`, "data-pod": pod.name },
      h("span", { class: "name" }, pod.name),
      h("span", { class: "state" }, pod.sick_because && state !== "ok" ? `${word}: ${pod.sick_because}` : word),
      h("span", { class: "big" }, number(pod.inflight_requests + pod.inflight_elsewhere), h("small", {}, " in flight")),
      h("span", { class: "bar", "aria-hidden": "true" }, h("span", { width: `${Math.round((pod.kv_usage_ratio ?? 0) * 100)}%` })),
      h("span", { class: "facts" }, `KV ${percent(pod.kv_usage_ratio)} · hits ${percent(pod.prefix_hit_ratio)} · ${number(pod.waiting_requests)} wait`),
      h("span", { class: "facts" }, pod.prefill_tokens_per_second === null ? "speed not learned yet" : `${number(pod.prefill_tokens_per_second)} prompt tokens/s`)));
}

// Costs of the first and the runner-up, by term without those that are 0; lower wins.
export function why(weighed, branch) {
  if (!weighed.length) return h("span", { class: "quiet" }, branch || "–");
  const most = Math.max(...weighed.map((one) => Math.abs(one.cost ?? 0)), 1e-12);
  return h("div", { class: "why" }, weighed.map((one, index) =>
    h("div", { key: `${one.address} ${index}` },
      h("span", { class: index ? "quiet" : "" }, `${index ? "then " : ""}${one.pod}: ${number(one.cost, 4)}`),
      h("span", { class: "bar thin", "aria-hidden": "true" }, h("span", { width: `${Math.round((Math.abs(one.cost ?? most) / most) * 100)}%` })),
      h("span", { class: "terms" }, Object.entries(one.terms).filter(([, value]) => value === null || Math.abs(value) >= 0.00005).map(([name, value]) => `${name} ${number(value, 4)}`).join(" + ")))));
}

const status = (code) => (code === null || code === undefined ? h("span", { class: "quiet" }, "running") : h("span", { class: code < 400 ? "good" : "wrong" }, String(code)));

export function decisions(list, caption = "Decisions") {
  return table(caption, ["Time", "Request", "User", "Model", "Pod", "Why", "TTFT", "Status"], list.map((one) =>
    row(one.number, clock(one.at_seconds), link("request", one.request_id, one.request_id.slice(0, 13)), link("user", one.user), link("model", one.model), link("pod", one.pod), [h("span", { class: "quiet" }, one.strategy), " ", why(one.weighed, one.branch)], seconds(one.ttft_seconds), status(one.status))), "No request yet.");
}

export function refusals(list, caption = "Refusals") {
  return table(caption, ["Time", "Request", "User", "Model", "Status", "Why"], list.map((one) =>
    row(one.number, clock(one.at_seconds), link("request", one.request_id, one.request_id.slice(0, 13)), one.user ? link("user", one.user) : one.source, one.model || "–", status(one.status), one.message)), "Nothing was refused.");
}

const left = (rest, whole) => (whole === null ? "–" : [h("span", { class: "bar thin", "aria-hidden": "true" }, h("span", { width: `${Math.round((rest / Math.max(whole, 1)) * 100)}%` })), `${number(rest)} of ${number(whole)}`]);

export function users(list) {
  return table("Users", ["User", "Requests left", "Tokens left", "Sent on", "Refused", "Last refusal", "Seen"], list.map((one) =>
    row(one.user, link("user", one.user), left(one.requests_left, one.rpm), left(one.tokens_left, one.tpm), number(one.decisions), number(one.refusals), one.last_refusal || "–", clock(one.seen_at_seconds))), "Nobody with a name has asked yet.");
}
