// OpenAI's and Vercel's clients for Node; exits with 1 when something is not as with an engine.

import assert from "node:assert/strict";
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { generateText, streamText } from "ai";
import OpenAI from "openai";

const { GATEWAY_URL, ENGINE_URL, GATEWAY_KEY, GATEWAY_MODEL: model } = process.env;
const messages = [{ role: "user", content: "Hello" }];
const tools = [{ type: "function", function: { name: "look_up", parameters: { type: "object", properties: {} } } }];
let held = 0;

/** One thing that a client does; docs/compatibility.md has the names. */
async function check(client, feature, action) {
  await action();
  held += 1;
}

async function checkOpenAI({ url, apiKey, headers, limited }) {
  const client = new OpenAI({ baseURL: `${url}/v1`, apiKey, defaultHeaders: headers, maxRetries: 0 });
  const chat = { model, messages, max_tokens: 5 };
  await check("openai", "chat", async () => {
    assert.equal((await client.chat.completions.create(chat)).usage.completion_tokens, 5);
  });
  await check("openai", "stream", async () => {
    let text = "";
    for await (const chunk of await client.chat.completions.create({ ...chat, stream: true })) {
      text += chunk.choices[0].delta.content ?? "";
    }
    assert.ok(text);
  });
  await check("openai", "tools", async () => {
    assert.ok((await client.chat.completions.create({ ...chat, tools, tool_choice: "auto" })).choices.length);
  });
  await check("openai", "responses", async () => {
    const asked = { model, input: "Hello", max_output_tokens: 5 };
    const first = await client.responses.create(asked);
    const second = await client.responses.create({ ...asked, previous_response_id: first.id });
    assert.equal((await client.responses.retrieve(second.id)).id, second.id);
  });
  await check("openai", "embeddings", async () => {
    assert.equal((await client.embeddings.create({ model, input: ["a", "b"] })).data.length, 2);
  });
  await check("openai", "models", async () => {
    assert.deepEqual((await client.models.list()).data.map((one) => one.id), [model]);
  });
  await check("openai", "errors", async () => {
    await assert.rejects(client.chat.completions.create({ ...chat, max_tokens: 0 }), OpenAI.BadRequestError);
  });
  await check("openai", "key", async () => {
    const { response } = await client.chat.completions.create(chat).withResponse();
    assert.equal(response.headers.has("x-ratelimit-limit-requests"), limited);
  });
}

async function checkVercel({ url, apiKey, headers }) {
  const named = createOpenAICompatible({ name: "gateway", baseURL: `${url}/v1`, apiKey, headers })(model);
  const options = { model: named, prompt: "Hello", maxOutputTokens: 5, maxRetries: 0 };
  await check("vercel", "chat", async () => assert.ok((await generateText(options)).text));
  await check("vercel", "stream", async () => {
    let text = "";
    for await (const part of streamText(options).textStream) text += part;
    assert.ok(text);
  });
}

const callers = [
  { url: ENGINE_URL, apiKey: "none", headers: {}, limited: false },
  { url: GATEWAY_URL, apiKey: "none", headers: {}, limited: false },
  { url: GATEWAY_URL, apiKey: "none", headers: { user: "ann" }, limited: true },
];
if (GATEWAY_KEY) callers.push({ url: GATEWAY_URL, apiKey: GATEWAY_KEY, headers: {}, limited: true });
for (const caller of callers) {
  await checkOpenAI(caller);
  await checkVercel(caller);
}
console.log(`node: openai and ai hold, ${held} checks`);
