// Talks with the server that this page came from, and with nobody else.
"use strict";

const by = (id) => document.getElementById(id);
const NUMBERS = ["temperature", "top_p", "top_k", "repetition_penalty", "max_tokens", "seed"];

/** Messages so far, as the server is sent them. */
let messages = [];
/** Whether the model knows conversations, or continues texts only. */
let talks = true;
/** What stops the answer under way. */
let running = null;

function headers() {
  const key = by("key").value.trim();
  const all = { "content-type": "application/json" };
  if (key) all.authorization = `Bearer ${key}`;
  return all;
}

/** The answer of the server, or an error with its own words. */
async function request(path, body, signal) {
  const how = { headers: headers(), signal };
  if (body) Object.assign(how, { method: "POST", body: JSON.stringify(body) });
  const response = await fetch(path, how);
  if (response.ok) return response;
  const said = await response.json().catch(() => null);
  throw new Error(said?.error?.message ?? `the server answered ${response.status}`);
}

function say(text, wrong = false) {
  by("status").textContent = text;
  by("status").classList.toggle("wrong", wrong);
}

async function begin() {
  try {
    const models = (await (await request("v1/models")).json()).data;
    const chosen = by("model").value;
    by("model").replaceChildren(
      ...models.filter((it) => it.max_model_len).map((it) => new Option(it.id, it.id)),
    );
    if (models.some((it) => it.id === chosen)) by("model").value = chosen;
    talks = (await (await request("tokenizer_info")).json()).chat_template !== null;
    by("system").disabled = !talks;
    say(talks ? "" : "This model has no chat template: it continues each text as it is.");
  } catch (error) {
    say(`No models: ${error.message}`, true);
  }
}

/** What is sent: only what was set. */
function body(text) {
  const it = { model: by("model").value, stream: true, stream_options: { include_usage: true } };
  it.return_token_ids = true;
  for (const name of NUMBERS) {
    const field = by(name);
    if (field.value === "") continue;
    if (!field.checkValidity()) throw new Error(`${field.labels[0].textContent}: ${field.validationMessage}`);
    it[name] = Number(field.value);
  }
  if (!talks) return { ...it, prompt: text };
  const system = by("system").value;
  it.messages = system.trim() ? [{ role: "system", content: system }, ...messages] : [...messages];
  return it;
}

function item(role, text) {
  const li = document.createElement("li");
  li.className = role;
  const who = document.createElement("span");
  who.className = "who";
  who.textContent = role === "user" ? "You" : by("model").value;
  const said = document.createElement("span");
  said.textContent = text;
  li.append(who, said);
  by("log").append(li);
  li.scrollIntoView({ block: "end" });
  return { li, said };
}

/** The data of server-sent events, one by one. */
async function* events(response) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let held = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    held += value;
    for (let end; (end = held.indexOf("\n\n")) >= 0; held = held.slice(end + 2)) {
      const lines = held.slice(0, end).split("\n").filter((line) => line.startsWith("data:"));
      if (lines.length) yield lines.map((line) => line.slice(5).trimStart()).join("\n");
    }
  }
}

async function show(ids) {
  by("ids").textContent = ids.join(" ");
  by("counts").textContent = `${ids.length} tokens`;
  const text = await (await request("detokenize", { model: by("model").value, tokens: ids })).json();
  by("rendered").textContent = text.prompt;
}

async function answer(text) {
  const asked = body(text);
  const { li, said } = item("assistant", "");
  // A screen reader hears the answer when it is whole, not each of its tokens.
  li.setAttribute("aria-busy", "true");
  const begun = performance.now();
  let usage = null;
  let first = null;
  let whole = false;
  running = new AbortController();
  try {
    const path = talks ? "v1/chat/completions" : "v1/completions";
    const response = await request(path, asked, running.signal);
    for await (const data of events(response)) {
      if (data === "[DONE]") {
        whole = true;
        break;
      }
      const chunk = JSON.parse(data);
      if (chunk.error) throw new Error(chunk.error.message);
      const choice = chunk.choices?.[0];
      const ids = chunk.prompt_token_ids ?? choice?.prompt_token_ids;
      if (ids) show(ids).catch((error) => say(error.message, true));
      const more = choice?.delta?.content ?? choice?.text ?? "";
      if (more) first ??= performance.now();
      said.textContent += more;
      if (choice?.finish_reason === "length") say("The answer was cut: it reached its most tokens.");
      usage = chunk.usage ?? usage;
    }
    if (!whole) throw new Error("the answer broke off");
  } catch (error) {
    // What was said until somebody stopped it stays; what broke is no answer.
    if (error.name !== "AbortError" || said.textContent === "") {
      li.remove();
      throw error;
    }
    say("Stopped.");
  } finally {
    running = null;
    li.removeAttribute("aria-busy");
  }
  if (usage) {
    const took = document.createElement("p");
    took.className = "took";
    const cached = usage.prompt_tokens_details?.cached_tokens ?? 0;
    const seconds = (performance.now() - (first ?? begun)) / 1000;
    const rate = (usage.completion_tokens / Math.max(seconds, 0.001)).toFixed(1);
    took.textContent =
      `${usage.prompt_tokens} tokens read (${cached} cached), ` +
      `${usage.completion_tokens} written, ${rate} per second`;
    li.append(took);
  }
  return said.textContent;
}

async function send() {
  const text = by("text").value;
  if (!text.trim() || running) return;
  say("");
  busy(true);
  const question = item("user", text);
  messages.push({ role: "user", content: text });
  by("text").value = "";
  try {
    const said = await answer(text);
    if (talks && said) messages.push({ role: "assistant", content: said });
  } catch (error) {
    // What was not answered is not remembered, and can be sent again.
    messages.pop();
    question.li.remove();
    by("text").value = text;
    say(error.name === "AbortError" ? "Stopped." : error.message, error.name !== "AbortError");
  }
  busy(false);
  by("text").focus();
}

function busy(yes) {
  by("send").disabled = yes;
  by("stop").disabled = !yes;
}

by("ask").addEventListener("submit", (event) => {
  event.preventDefault();
  send();
});
by("text").addEventListener("keydown", (event) => {
  if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
  event.preventDefault();
  send();
});
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape") running?.abort();
});
by("stop").addEventListener("click", () => running?.abort());
by("anew").addEventListener("click", () => {
  running?.abort();
  messages = [];
  by("log").replaceChildren();
  by("rendered").textContent = "";
  by("ids").textContent = "";
  by("counts").textContent = "Nothing has been asked yet.";
  say("");
  by("text").focus();
});
by("key").addEventListener("change", begin);
begin();
