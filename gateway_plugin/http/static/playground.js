// A chat through the gateway: streamed, then told why it went where it went. Shown only where the gateway's address is set.

import { h, patch } from "./dom.js";
import { storyOf } from "./details.js";
import { ask, events } from "./wire.js";

const STORY_TRIES = 12;
const form = document.querySelector("#playground form");
const answer = document.querySelector("#answer");
const told = document.querySelector("#answer-told");
const story = document.querySelector("#answer-story");

export function startPlayground(gateway) {
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const button = form.querySelector("button");
    button.disabled = true;
    try { await send(gateway, new FormData(form)); } catch (error) { told.textContent = `The gateway does not answer: ${error.message}`; } finally { button.disabled = false; }
  });
}

export function offer(snapshot) {
  patch(document.querySelector("#play-users"), snapshot.users.map((one) => h("option", { key: one.user, value: one.user })));
  patch(document.querySelector("#play-model"), snapshot.models.map((one) => h("option", { key: one.name, value: one.name }, one.name)));
}

async function send(gateway, fields) {
  answer.textContent = "";
  patch(story, []);
  told.textContent = "sent …";
  const headers = { "content-type": "application/json", "x-request-id": crypto.randomUUID?.() ?? `page-${Date.now()}` };
  if (fields.get("user")) headers.user = fields.get("user");
  if (fields.get("strategy")) headers["routing-strategy"] = fields.get("strategy");
  const body = { model: fields.get("model"), messages: [{ role: "user", content: fields.get("prompt") }], max_tokens: 64, stream: true };
  const began = performance.now();
  const got = await fetch(`${gateway}/v1/chat/completions`, { method: "POST", headers, body: JSON.stringify(body), credentials: "omit" });
  const id = got.headers.get("x-request-id") ?? headers["x-request-id"];
  if (got.ok) await stream(got.body, began);
  else told.textContent = `${got.status}: ${(await got.json().catch(() => ({})))?.error?.message ?? got.statusText}`;
  told.textContent += ` · request ${id}`;
  await tell(id, got.ok);
}

async function stream(body, began) {
  let first = null;
  for await (const data of events(body)) {
    if (data === "[DONE]") break;
    const text = JSON.parse(data).choices?.[0]?.delta?.content ?? "";
    if (text && first === null) first = performance.now() - began;
    answer.textContent += text;
  }
  told.textContent = `200: first token after ${Math.round(first ?? 0)} ms, all after ${Math.round(performance.now() - began)} ms`;
}

// The decision at once; its end comes with Envoy's log, a second later or so.
async function tell(id, wantsEnd) {
  for (let tries = 0; tries < STORY_TRIES; tries += 1) {
    const found = await ask(`/debug/requests/${encodeURIComponent(id)}`).catch(() => null);
    if (found) patch(story, storyOf(found));
    if (found && (!wantsEnd || found.decisions.some((one) => one.end))) return;
    await new Promise((resolve) => setTimeout(resolve, 400));
  }
}
