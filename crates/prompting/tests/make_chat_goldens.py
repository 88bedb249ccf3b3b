# pins: jinja2==3.1.6
# fetch: fixtures
# args: {cache}/fixtures
# stdout: prompting/chat_goldens.json
"""Renders real chat templates with Jinja2, configured as transformers configures it.

    python make_chat_goldens.py FIXTURES --show TEMPLATE CASE

shows one rendering. The templates belong to their vendors, so the file that is committed holds only
the hashes of templates and of renderings, and the sentences of refusals.
"""

import datetime
import hashlib
import json
import pathlib
import sys

import jinja2
import jinja2.ext
import jinja2.nodes
from jinja2.sandbox import ImmutableSandboxedEnvironment

NOW = datetime.datetime(2026, 1, 2, 3, 4, 5)

WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "Tells the weather <now> & \"here\" in Zürich's centre.",
        "parameters": {
            "type": "object",
            "properties": {
                "city": {"type": "string", "description": "A city, e.g. 'Oslo'"},
                "unit": {"type": "string", "enum": ["celsius", "fahrenheit"], "default": None},
                "days": {"type": "integer", "minimum": 1, "maximum": 10.5},
                "detailed": {"type": "boolean"},
            },
            "required": ["city"],
        },
        "return": {"type": "string"},
    },
}
CLOCK = {
    "type": "function",
    "function": {"name": "clock", "description": "Tells the time.",
                 "parameters": {"type": "object", "properties": {}, "required": []}},
}


def user(content):
    return {"role": "user", "content": content}


def assistant(content, **extra):
    return {"role": "assistant", "content": content, **extra}


def system(content):
    return {"role": "system", "content": content}


TURNS = [user("What is the capital of France?"), assistant("Paris."), user("And of Norway?")]
CALL = [
    user("How warm is it in Oslo?"),
    assistant("", tool_calls=[{"id": "abcdef123", "type": "function", "function": {
        "name": "get_weather", "arguments": {"city": "Oslo", "days": 2, "detailed": True, "unit": None}}}]),
    {"role": "tool", "name": "get_weather", "tool_call_id": "abcdef123", "content": "{\"celsius\": -3.5}"},
]
CASES = {
    "user": dict(messages=TURNS[:1], add_generation_prompt=True),
    "user_without_prompt": dict(messages=TURNS[:1], add_generation_prompt=False),
    "system_user": dict(messages=[system("Be brief."), *TURNS[:1]], add_generation_prompt=True),
    "turns": dict(messages=TURNS, add_generation_prompt=True),
    "turns_answered": dict(messages=[system("Be brief."), *TURNS, assistant("Oslo.")], add_generation_prompt=False),
    "whitespace_and_marks": dict(
        messages=[system("  Be\n brief. "), user("\n <b>'q' & \"p\"</b> {{x}} {% y %} \\n é 漢 \U0001f600 \n\n"),
                  assistant(" a\n\nb "), user("\tz")], add_generation_prompt=True),
    "tools": dict(messages=[system("Be brief."), *TURNS[:1]], tools=[WEATHER, CLOCK], add_generation_prompt=True),
    "tools_without_system": dict(messages=TURNS[:1], tools=[WEATHER], add_generation_prompt=True),
    "tool_calls": dict(messages=CALL, tools=[WEATHER], add_generation_prompt=True),
    "tool_calls_answered": dict(messages=[*CALL, assistant("Cold.")], tools=[WEATHER, CLOCK],
                                add_generation_prompt=False),
    "arguments_as_text": dict(messages=[CALL[0], assistant(None, tool_calls=[{
        "id": "abcdef123", "type": "function",
        "function": {"name": "get_weather", "arguments": "{\"city\": \"Oslo\"}"}}]), CALL[2]], tools=[WEATHER],
        add_generation_prompt=True),
    "parts": dict(messages=[user([{"type": "text", "text": "Name a"}, {"type": "text", "text": " city."}])],
                  add_generation_prompt=True),
    "thinking": dict(messages=[TURNS[0], assistant("Paris.", reasoning_content="France, hm."), TURNS[2],
                               assistant("<think>\nNorway.\n</think>\n\nOslo.")], add_generation_prompt=False),
    "thinking_off": dict(messages=TURNS, add_generation_prompt=True, extra={"enable_thinking": False}),
    "thinking_on": dict(messages=TURNS, add_generation_prompt=True, extra={"enable_thinking": True, "thinking": True}),
    "documents": dict(messages=TURNS[:1], documents=[{"title": "Atlas", "text": "Paris is in France."}],
                      add_generation_prompt=True),
    "two_users": dict(messages=[TURNS[0], TURNS[2]], add_generation_prompt=True),
    "assistant_first": dict(messages=[assistant("Hello."), TURNS[0]], add_generation_prompt=True),
    "unknown_role": dict(messages=[{"role": "narrator", "content": "Once"}, TURNS[0]], add_generation_prompt=True),
}
SPECIALS = dict(bos_token="<s>", eos_token="</s>", unk_token="<unk>", pad_token="<pad>")


class Generation(jinja2.ext.Extension):
    """`{% generation %}`: a call block, as in transformers."""

    tags = {"generation"}

    def parse(self, parser):
        line = next(parser.stream).lineno
        body = parser.parse_statements(["name:endgeneration"], drop_needle=True)
        return jinja2.nodes.CallBlock(self.call_method("_pass"), [], [], body).set_lineno(line)

    def _pass(self, caller):
        return caller()


def environment():
    def refuse(message):
        raise jinja2.exceptions.TemplateError(message)

    def tojson(x, ensure_ascii=False, indent=None, separators=None, sort_keys=False):
        return json.dumps(x, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)

    env = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[Generation, jinja2.ext.loopcontrols])
    env.filters["tojson"] = tojson
    env.globals["raise_exception"] = refuse
    env.globals["strftime_now"] = lambda form: NOW.strftime(form)
    return env


def render(source, case):
    case = dict(case)
    extra = case.pop("extra", {})
    values = dict(tools=None, documents=None, **SPECIALS)
    values.update(case)
    values.update(extra)
    try:
        return {"text": environment().from_string(source).render(**values)}
    except jinja2.exceptions.TemplateError as e:
        if type(e) is jinja2.exceptions.TemplateError:
            return {"refused": str(e)}
        return {"error": f"{type(e).__name__}: {e}"}
    except Exception as e:  # what Python raises inside a template
        return {"error": f"{type(e).__name__}: {e}"}


def sha256(text):
    return hashlib.sha256(text.encode("utf-8")).hexdigest()


def sources(fixtures):
    """Every template: those in files, then those inside the configuration of a tokenizer."""
    found = {path.stem: path.read_bytes().decode("utf-8") for path in (fixtures / "templates").glob("*.jinja")}
    for path in (fixtures / "tokenizers").glob("*/tokenizer_config.json"):
        found[f"npm-tokenizer-{path.parent.name}"] = json.loads(path.read_text("utf-8"))["chat_template"]
    return dict(sorted(found.items()))


def main():
    found = sources(pathlib.Path(sys.argv[1]))
    if len(sys.argv) > 2:
        result = render(found[sys.argv[3]], CASES[sys.argv[4]])
        print(result["text"] if "text" in result else result, end="")
        return
    templates = {}
    for stem, source in found.items():
        results = {}
        for name, case in CASES.items():
            result = render(source, case)
            results[name] = {"sha256": sha256(result["text"])} if "text" in result else result
        templates[stem] = {"sha256": sha256(source), "results": results}
    out = {"jinja2": jinja2.__version__, "now": NOW.isoformat(), "specials": SPECIALS,
           "cases": CASES, "templates": templates}
    json.dump(out, sys.stdout, ensure_ascii=False, indent=1)
    print()


main()
