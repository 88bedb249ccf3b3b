"""Drives a server with OpenAI's own client.

Run by the test `foreign::openais_client_drives_every_endpoint` with the server's address.
"""

import json
import sys

import openai

client = openai.OpenAI(
    base_url=f"http://{sys.argv[1]}/v1", api_key="none", max_retries=0, timeout=120
)
MODEL = "smollm2-135m"
FRANCE = [{"role": "user", "content": "What is the capital of France?"}]
PARIS = "The capital of France is Paris."

models = client.models.list().data
assert [model.id for model in models] == [MODEL, "minilm"], models
assert client.models.retrieve(MODEL).id == MODEL

whole = client.chat.completions.create(
    model=MODEL, messages=FRANCE, logprobs=True, top_logprobs=3, user="someone"
)
choice = whole.choices[0]
assert choice.message.content == PARIS, choice
assert choice.finish_reason == "stop"
assert whole.usage.prompt_tokens == 37
tokens = choice.logprobs.content
assert b"".join(bytes(token.bytes) for token in tokens[:-1]).decode() == PARIS
assert all(len(token.top_logprobs) == 3 for token in tokens)

text, usage, reason = "", None, None
stream = client.chat.completions.create(
    model=MODEL, messages=FRANCE, stream=True, stream_options={"include_usage": True}
)
for chunk in stream:
    usage = chunk.usage or usage
    for choice in chunk.choices:
        text += choice.delta.content or ""
        reason = choice.finish_reason or reason
assert (text, reason) == (PARIS, "stop"), (text, reason)
assert usage == whole.usage or usage.completion_tokens == whole.usage.completion_tokens

sampled = client.chat.completions.create(
    model=MODEL, messages=FRANCE, n=2, seed=3, temperature=1.5, max_completion_tokens=12
)
again = client.chat.completions.create(
    model=MODEL, messages=FRANCE, n=2, seed=3, temperature=1.5, max_completion_tokens=12
)
texts = [choice.message.content for choice in sampled.choices]
assert texts == [choice.message.content for choice in again.choices]
assert texts[0] != texts[1], texts

stopped = client.chat.completions.create(model=MODEL, messages=FRANCE, stop=[" France"])
assert stopped.choices[0].message.content == "The capital of"

verdict = {
    "type": "object",
    "properties": {"city": {"type": "string", "maxLength": 20}, "sure": {"type": "boolean"}},
    "required": ["city", "sure"],
    "additionalProperties": False,
}
for strict in (True, False):
    held = client.chat.completions.create(
        model=MODEL,
        messages=FRANCE,
        response_format={
            "type": "json_schema",
            "json_schema": {"name": "verdict", "strict": strict, "schema": verdict},
        },
    )
    value = json.loads(held.choices[0].message.content)
    assert set(value) == {"city", "sure"} and isinstance(value["sure"], bool), value
    assert len(value["city"]) <= 20 and held.choices[0].finish_reason == "stop", held

scored = client.completions.create(
    model=MODEL, prompt=["One two three", "Paris is in France"], max_tokens=1, logprobs=1, echo=True
)
for choice in scored.choices:
    assert choice.logprobs.token_logprobs[0] is None
    assert len(choice.logprobs.tokens) == len(choice.logprobs.token_logprobs)
    assert "".join(choice.logprobs.tokens) == choice.text, choice

pieces = client.completions.create(model=MODEL, prompt="1, 2, 3,", max_tokens=8, stream=True)
streamed = "".join(chunk.choices[0].text for chunk in pieces)
at_once = client.completions.create(model=MODEL, prompt="1, 2, 3,", max_tokens=8)
assert streamed == at_once.choices[0].text, (streamed, at_once)

response = client.responses.create(
    model=MODEL, input=FRANCE[0]["content"], max_output_tokens=20, store=False
)
assert response.output_text == PARIS and response.status == "completed", response
assert response.usage.input_tokens == 37
seen, final = "", None
with client.responses.stream(model=MODEL, input=FRANCE, store=False) as events:
    for event in events:
        if event.type == "response.output_text.delta":
            seen += event.delta
    final = events.get_final_response()
assert seen == PARIS == final.output_text, (seen, final)
cut = client.responses.create(model=MODEL, input="Count to a hundred.", max_output_tokens=3)
assert cut.status == "incomplete" and cut.incomplete_details.reason == "max_output_tokens"

# Its template is ChatML without tools, so they are refused, and not dropped.
for error, more in [
    (openai.BadRequestError, {"tools": [{"type": "function", "function": {"name": "f"}}]}),
    (openai.BadRequestError, {"extra_body": {"tempreature": 1}}),
    (openai.BadRequestError, {"max_tokens": 100_000}),
    (
        openai.BadRequestError,
        {
            "response_format": {
                "type": "json_schema",
                "json_schema": {"name": "a", "schema": {"not": {}}},
            }
        },
    ),
    (openai.NotFoundError, {"model": "gpt"}),
]:
    try:
        client.chat.completions.create(**{"model": MODEL, "messages": FRANCE, **more})
    except error as caught:
        assert caught.body["message"], caught
    else:
        raise AssertionError(f"{more} was taken")
# The client asks for base64 by itself, and for floats where it is told to.
texts = ["A man is eating food.", "Someone eats.", "The stock market fell."]
made = client.embeddings.create(model="minilm", input=texts)
floats = client.embeddings.create(model="minilm", input=texts, encoding_format="float")
vectors = [item.embedding for item in made.data]
assert vectors == [item.embedding for item in floats.data]
assert [item.index for item in made.data] == [0, 1, 2] and made.usage.prompt_tokens > 10
dot = lambda a, b: sum(x * y for x, y in zip(a, b))
assert all(abs(dot(vector, vector) - 1) < 1e-4 for vector in vectors)
assert dot(vectors[0], vectors[1]) > dot(vectors[0], vectors[2]) + 0.2
try:
    client.embeddings.create(model=MODEL, input="x")
except openai.NotFoundError:
    pass
else:
    raise AssertionError("a model that generates made vectors")

print("all answered")
