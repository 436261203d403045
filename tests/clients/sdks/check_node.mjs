// OpenAI's and Vercel's clients for Node; exits with 1 when something is not as with an engine.

import assert from "node:assert/strict";
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { generateText, streamText } from "ai";
import OpenAI from "openai";

const { GATEWAY_URL, GATEWAY_MODEL: model } = process.env;
const baseURL = `${GATEWAY_URL}/v1`;
const messages = [{ role: "user", content: "Hello" }];

async function checkOpenAI(headers) {
  const client = new OpenAI({ baseURL, apiKey: "none", defaultHeaders: headers, maxRetries: 0 });
  const answer = await client.chat.completions.create({ model, messages, max_tokens: 5 });
  assert.equal(answer.usage.completion_tokens, 5);
  let text = "";
  for await (const chunk of await client.chat.completions.create({ model, messages, max_tokens: 5, stream: true })) {
    text += chunk.choices[0].delta.content ?? "";
  }
  assert.ok(text);
  const first = await client.responses.create({ model, input: "Hello", max_output_tokens: 5 });
  const second = await client.responses.create({ model, input: "More", max_output_tokens: 5, previous_response_id: first.id });
  assert.equal((await client.responses.retrieve(second.id)).id, second.id);
  assert.equal((await client.embeddings.create({ model, input: ["a", "b"] })).data.length, 2);
  await assert.rejects(client.chat.completions.create({ model: "nobody", messages }), OpenAI.BadRequestError);
}

async function checkVercel(headers) {
  const named = createOpenAICompatible({ name: "gateway", baseURL, apiKey: "none", headers })(model);
  const options = { model: named, prompt: "Hello", maxOutputTokens: 5, maxRetries: 0 };
  assert.ok((await generateText(options)).text);
  let text = "";
  for await (const part of streamText(options).textStream) text += part;
  assert.ok(text);
}

for (const headers of [{}, { user: "ann" }]) {
  await checkOpenAI(headers);
  await checkVercel(headers);
}
console.log("node: openai and ai hold, with limits and without");
