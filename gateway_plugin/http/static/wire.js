// Asks the plugin. EventSource cannot send a token, so that the feed is read with fetch.

const KEPT = "gateway-admin-token";
let token = sessionStorage.getItem(KEPT) ?? "";

export class Refused extends Error {}
export class NotKnown extends Error {}

export function useToken(text) {
  token = text;
  if (text) sessionStorage.setItem(KEPT, text);
  else sessionStorage.removeItem(KEPT);
}

async function get(path, signal) {
  // Relative, so that the page may stand under another path of somebody's proxy.
  const answer = await fetch(path.slice(1), { headers: token ? { authorization: `Bearer ${token}` } : {}, signal, cache: "no-store" });
  if (answer.ok) return answer;
  const told = await answer.json().catch(() => ({}));
  const message = told?.error?.message ?? `status ${answer.status}`;
  if (answer.status === 401) throw new Refused(message);
  if (answer.status === 404) throw new NotKnown(message);
  throw new Error(message);
}

export async function ask(path, query = {}) {
  const wanted = Object.entries(query).filter(([, value]) => value);
  return (await get(wanted.length ? `${path}?${new URLSearchParams(wanted)}` : path)).json();
}

// Data of each server-sent event, as text.
export async function* events(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    const parts = (rest + value.replaceAll("\r", "")).split("\n\n");
    rest = parts.pop();
    for (const part of parts) {
      const lines = part.split("\n").filter((line) => line.startsWith("data:"));
      if (lines.length) yield lines.map((line) => line.slice(5).trimStart()).join("\n");
    }
  }
}

const QUIET_MS = 5000;

// Snapshots until the caller aborts; `onState` is told "live", "lost" (and why), or "refused".
export async function follow(onSnapshot, onState, signal) {
  while (!signal.aborted) {
    const attempt = new AbortController();
    const stop = () => attempt.abort();
    signal.addEventListener("abort", stop);
    let watchdog = setTimeout(stop, QUIET_MS);
    try {
      const answer = await get("/debug/live/events", attempt.signal);
      for await (const data of events(answer.body)) {
        clearTimeout(watchdog);
        watchdog = setTimeout(stop, QUIET_MS);
        onState("live");
        onSnapshot(JSON.parse(data));
      }
    } catch (error) {
      if (error instanceof Refused) return onState("refused", token ? error.message : "");
      if (!signal.aborted) onState("lost", error.message);
    } finally {
      clearTimeout(watchdog);
      signal.removeEventListener("abort", stop);
    }
    if (!signal.aborted) await new Promise((resolve) => setTimeout(resolve, 1000));
  }
}
