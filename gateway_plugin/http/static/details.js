// One model, pod, user or request, as the address behind # says; and all settings.

import { clock, h, link, number, percent, row, seconds, table } from "./dom.js";
import { decisions, healthOf, refusals, tile, why } from "./overview.js";
import { ask, NotKnown } from "./wire.js";

// Records of /debug/decisions as the feed's lines.
const line = (one) => ({ ...one, pod: one.targets[0]?.pod ?? "", status: one.end?.status, ttft_seconds: one.end?.ttft_seconds });
const facts = (pairs) => h("dl", { class: "facts-list" }, pairs.map(([name, value]) => h("div", { key: name }, h("dt", {}, name), h("dd", {}, value))));
const titled = (title, ...parts) => [h("h2", {}, title), ...parts];
const nothing = (text) => h("p", { class: "empty" }, text);

async function model(name, snapshot) {
  const [sent, refused, cached] = await Promise.all([ask("/debug/decisions", { model: name }), ask("/debug/refusals", { model: name }), ask("/debug/prefix", { model: name }).catch(() => null)]);
  const one = snapshot?.models.find((model) => model.name === name);
  return titled(`Model ${name}`,
    one ? facts([["Pods", `${one.ready_pods} of ${one.pods} ready`], ["In flight", number(one.inflight_requests)], ["Waiting here", number(one.waiting_requests)], ["TTFT p50", seconds(one.ttft_p50_seconds)], ["TTFT p95", seconds(one.ttft_p95_seconds)], ["Per output token", seconds(one.tpot_p50_seconds)], ["Output tokens", `${number(one.output_tokens_per_second)}/s`]]) : nothing("No pod serves it."),
    h("ul", { class: "tiles" }, (snapshot?.pods ?? []).filter((pod) => pod.models.includes(name)).map(tile)),
    cached && h("h3", {}, "Prefix cache"),
    cached && h("p", {}, `Of ${number(cached.prompt_tokens)} prompt tokens in the last ${number(cached.compared_requests)} requests that told, ${number(cached.predicted_cached_tokens)} were believed cached, ${number(cached.reported_cached_tokens)} were.`),
    h("h3", {}, "Decisions"), decisions(sent.map(line)), h("h3", {}, "Refusals"), refusals(refused));
}

async function pod(name, snapshot) {
  const sent = await ask("/debug/decisions", { pod: name });
  const one = snapshot?.pods.find((pod) => pod.name === name);
  return titled(`Pod ${name}`,
    one ? facts([["Address", one.address], ["Models", one.models.join(", ")], ["Health", healthOf(one)[1] + (one.sick_because ? `: ${one.sick_because}` : "")], ["Looked at again", one.next_check_seconds === null ? "–" : `in ${seconds(one.next_check_seconds)}`], ["In flight", `${one.inflight_requests}, and ${one.inflight_elsewhere} through other replicas`], ["The engine says", `${number(one.running_requests)} running, ${number(one.waiting_requests)} waiting`], ["KV cache used", percent(one.kv_usage_ratio)], ["Prefix hits", percent(one.prefix_hit_ratio)], ["Blocks believed cached", number(one.cached_blocks)], ["Learned speed", one.prefill_tokens_per_second === null ? "not yet" : `${number(one.prefill_tokens_per_second)} prompt tokens/s`], ["Prefill left", `${number(one.backlog_tokens)} tokens`], ["TTFT", seconds(one.ttft_seconds)], ["Per output token", seconds(one.tpot_seconds)], ["Metrics are", one.scraped_before_seconds === null ? "not known" : `${seconds(one.scraped_before_seconds)} old`]]) : nothing("There is no such pod now."),
    h("h3", {}, "Decisions for it"), decisions(sent.map(line)));
}

async function user(name, snapshot) {
  const [sent, refused] = await Promise.all([ask("/debug/decisions", { user: name }), ask("/debug/refusals", { user: name })]);
  const one = snapshot?.users.find((user) => user.user === name);
  const left = (rest, whole) => (whole === null ? "–" : `${number(rest)} of ${number(whole)}`);
  return titled(`User ${name}`,
    one ? facts([["Requests left", left(one.requests_left, one.rpm)], ["Tokens left", left(one.tokens_left, one.tpm)], ["When", `at ${clock(one.seen_at_seconds)}, as last admitted`]]) : nothing("Has not asked lately."),
    h("h3", {}, "Refusals"), refusals(refused), h("h3", {}, "Decisions"), decisions(sent.map(line)));
}

async function request(id) {
  let story;
  try {
    story = await ask(`/debug/requests/${encodeURIComponent(id)}`);
  } catch (error) {
    if (error instanceof NotKnown) return titled(`Request ${id}`, nothing(error.message));
    throw error;
  }
  return titled(`Request ${id}`, ...storyOf(story));
}

export function storyOf(story) {
  return [
    ...story.refusals.map((one) => h("article", { class: "card bad" }, h("h3", {}, `Refused with ${one.status}`), h("p", {}, one.message), facts([["At", clock(one.at_seconds)], ["Reason", one.reason], ["User", link("user", one.user)], ["Model", one.model || "–"], ["Path", one.path], ["From", one.source]]))),
    ...story.decisions.map(decided),
    ...story.ends.map((one) => h("article", { class: "card" }, ended(one))),
  ];
}

function decided(one) {
  const pods = one.targets.map((target) => target.pod);
  return h("article", { class: "card" },
    h("h3", {}, pods.length ? ["Sent to ", link("pod", pods[0])] : "Sent on"),
    facts([["At", clock(one.at_seconds)], ["User", link("user", one.user)], ["Model", link("model", one.model)], ["Path", one.path], ["Strategy", one.strategy], ["Because", one.branch || "–"], ["Decided after", seconds(one.decided_after_seconds)], ["Next, if it fails", pods.slice(1).join(", ") || "–"], ["Prompt, estimated", `${number(one.prompt_tokens)} tokens, ${number(one.matched_tokens)} believed cached`], ["Reserved", `${number(one.reserved_tokens)} tokens`], ...(one.allowance ? [["Used of the minute", `${number(one.allowance.requests_used)} of ${number(one.allowance.rpm)} requests, ${number(one.allowance.tokens_used)} of ${number(one.allowance.tpm)} tokens`]] : [])]),
    h("h4", {}, "Why this pod"),
    one.weighed.length ? weighed(one.weighed) : h("p", { class: "quiet" }, "Not kept: decisions came faster than they are explained, or the strategy weighs nothing."),
    one.end ? ended(one.end) : h("p", { class: "quiet" }, "It is not over, or its end was told to another replica."));
}

function weighed(list) {
  const names = [...new Set(list.flatMap((one) => Object.keys(one.terms)))];
  return h("div", {}, table("Cost by term; lower wins", ["Pod", "Cost", ...names, "Cached tokens"], list.map((one, index) => row(index, one.pod, number(one.cost, 4), ...names.map((name) => number(one.terms[name], 4)), number(one.matched_tokens))), ""), why(list, ""));
}

const ended = (one) => h("div", {}, h("h4", {}, `Answered with ${one.status}${one.reason ? ` (${one.reason})` : ""}`),
  facts([["By", one.pod_address || "nobody"], ["Tries", number(one.attempts)], ["First token", seconds(one.ttft_seconds)], ["Whole", seconds(one.duration_seconds)], ["Tokens", one.prompt_tokens === null ? "–" : `${number(one.prompt_tokens)} in (${number(one.cached_tokens)} cached), ${number(one.completion_tokens)} out`]]));

async function settings() {
  const all = Object.entries(await ask("/debug/config"));
  return titled("Settings", h("p", {}, "As they are in effect; secrets are not shown."), table("Settings", ["Name", "Value", "From"], all.map(([name, one]) => row(name, name, one.value || "–", one.origin || "default")), ""));
}

const VIEWS = { model, pod, user, request, settings };

// What the address asks for; null is the overview.
export function viewOf(hash) {
  const [, kind, name] = /^#\/([a-z]+)(?:\/(.*))?$/.exec(hash) ?? [];
  if (!Object.hasOwn(VIEWS, kind ?? "")) return null;
  let id = name ?? "";
  try { id = decodeURIComponent(id); } catch { /* As it stands. */ }
  return { title: id ? `${kind} ${id}` : kind, show: (snapshot) => VIEWS[kind](id, snapshot) };
}
