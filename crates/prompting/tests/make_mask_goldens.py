# pins: transformers==5.23.0 jinja2==3.1.6 tokenizers==0.23.3
# fetch: fixtures
# args: {cache}/fixtures prompting/fixtures/tokenizer.json
# stdout: prompting/mask_goldens.json
"""What is learnt of whole conversations, found without our code.

Two sources: where a template has `{% generation %}` blocks, the mask that transformers'
`apply_chat_template(return_assistant_tokens_mask=True)` gives; and for every template, rendering the
conversation up to each of the assistant's turns with transformers and looking where that stands in the whole.
transformers' mask is cut behind the first stop token, since what a block writes after it is never generated.
Where a block also holds what the generation prompt writes, its range begins earlier than the other source's;
nothing else may differ. The templates belong to their vendors, so only hashes, token numbers and our own words are
committed. The special tokens of a template join the tiny tokenizer of the tests.
"""

import datetime
import hashlib
import json
import pathlib
import re
import sys

import jinja2
from tokenizers import AddedToken, Tokenizer
from transformers import PreTrainedTokenizerFast
from transformers.utils import chat_template_utils

# Some templates write the date.
NOW = datetime.datetime(2026, 1, 2, 3, 4, 5)

SPECIAL = re.compile(r"<[|｜][^<>\s'\"]+?[|｜]>|</?s>|<(?:start|end)_of_turn>|\[/?INST\]|<\|turn>|<turn\|>|<\[[a-z_]+\]>")
EOS = "</s>"


def message(role, content, **more):
    return {"role": role, "content": content, **more}


CALL = {"id": "abcdef123", "type": "function", "function": {"name": "clock", "arguments": {"city": "Oslo"}}}
TALKS = {
    "two": [message("user", "The capital of France?"), message("assistant", "Paris."),
            message("user", "Of Norway?"), message("assistant", "Oslo.")],
    "three": [message("system", "Be brief."), message("user", "Is this mail spam?"),
              message("assistant", "It is not:\n\n  it was built in 1871. "), message("user", "How old is it?"),
              message("assistant", "153.5 years"), message("user", "Positive or negative?"),
              message("assistant", "negative")],
    "reasons": [message("user", "The capital of France?"),
                message("assistant", "<think>\nFrance, hm.\n</think>\n\nParis."),
                message("user", "Of Norway?"), message("assistant", "<think>\nNorway.\n</think>\n\nOslo.")],
    "calls": [message("user", "How late is it in Oslo?"), message("assistant", "", tool_calls=[CALL]),
              message("tool", "12:00", name="clock", tool_call_id="abcdef123"), message("assistant", "Noon.")],
}


class Changed(Exception):
    """A turn that the whole conversation does not show as it is asked for."""


def tokenizer(plain, source):
    specials = sorted({EOS} | set(SPECIAL.findall(source)))
    inner = Tokenizer.from_file(str(plain))
    inner.add_special_tokens([AddedToken(text, special=True, normalized=False) for text in specials])
    whole = PreTrainedTokenizerFast(tokenizer_object=inner, bos_token="<s>", eos_token=EOS)
    whole.chat_template = source
    return whole, specials


def stops(tok, specials):
    """EOS, and the special token that directly follows what the assistant said."""
    said = "Fidelio-said-this."
    found = {EOS}
    try:
        text = tok.apply_chat_template([message("user", "?"), message("assistant", said)], tokenize=False)
    except jinja2.exceptions.TemplateError:
        return found
    tail = text[text.rindex(said) + len(said):].lstrip()
    found |= {s for s in specials if tail.startswith(s)}
    return found


def encode(tok, text):
    return tok(text, add_special_tokens=False, return_offsets_mapping=True)


def ended(text, ends):
    """A text without what follows the first of the stops at its end."""
    text = text.rstrip()
    while True:
        rest = next((text[:-len(e)].rstrip() for e in ends if text.endswith(e)), None)
        if rest is None or not any(rest.endswith(e) for e in ends):
            return text
        text = rest


def turns(tok, talk, ends):
    """The learnt tokens of the whole conversation, as ranges, by prefixes."""
    def text(upto, prompt):
        return tok.apply_chat_template(talk[:upto], tokenize=False, add_generation_prompt=prompt)

    last = len(talk) - 1
    asked, whole = text(last, True), text(last + 1, False)
    if not whole.startswith(asked):
        raise Changed(0)
    ids = encode(tok, whole)
    ranges = []
    number = 0
    for at, said in enumerate(talk):
        if said["role"] != "assistant":
            continue
        number += 1
        try:
            prompt, alone = text(at, True), ended(text(at + 1, False), ends)
        except jinja2.exceptions.TemplateError:
            raise Changed(number) from None
        own = encode(tok, prompt)["input_ids"]
        reference = whole if at == last else asked
        if not reference.startswith(prompt) or not reference.startswith(alone) or len(alone) <= len(prompt):
            raise Changed(number)
        if ids["input_ids"][:len(own)] != own:
            raise Changed(number)
        tokens = list(zip(ids["input_ids"], ids["offset_mapping"]))
        inside = [i for i, (t, (a, b)) in enumerate(tokens)
                  if i >= len(own) and b <= len(alone) and tok.convert_ids_to_tokens(t) in ends]
        if inside and not whole[tokens[inside[-1]][1][1]:len(alone)].strip():
            end = inside[-1]
        else:
            behind = [i for i, (t, (a, b)) in enumerate(tokens) if a >= len(alone)
                      and tok.convert_ids_to_tokens(t) in ends and not whole[len(alone):a].strip()]
            if not behind and at == last:
                # Our renderer ends the last turn itself.
                ranges.append([len(own), len(tokens)])
                continue
            if not behind:
                raise Changed(number)
            end = behind[0]
        if not whole[len(prompt):tokens[end][1][0]].strip():
            raise Changed(number)  # the template drops what was said
        ranges.append([len(own), end + 1])
    return ids["input_ids"], ranges


def masked(tok, talk, ends):
    """The same by transformers' mask, or none where the template has no generation blocks."""
    if "generation" not in re.findall(r"\{%-?\s*(\w+)", tok.chat_template):
        return None
    got = tok.apply_chat_template(talk, tokenize=True, return_dict=True, return_assistant_tokens_mask=True)
    ids, mask = got["input_ids"], got["assistant_masks"]
    ranges = []
    at = 0
    while at < len(ids):
        if not mask[at]:
            at += 1
            continue
        first = at
        while at < len(ids) and mask[at] and tok.convert_ids_to_tokens(ids[at]) not in ends:
            at += 1
        if at < len(ids) and tok.convert_ids_to_tokens(ids[at]) in ends:
            at += 1
        ranges.append([first, at])
        while at < len(ids) and mask[at]:  # what the block writes after the stop
            at += 1
    return ids, ranges


def case(tok, talk, ends):
    try:
        ids, ranges = turns(tok, talk, ends)
    except jinja2.exceptions.TemplateError:
        return {"refused": True}
    except Changed as turn:
        return {"changed": turn.args[0]}
    except Exception as error:  # what Python raises inside a template
        return {"failed": type(error).__name__}
    if not all(a < b for a, b in ranges):
        return {"changed": 0}
    out = {"ids": hashlib.sha256(json.dumps(ids).encode()).hexdigest()[:16], "tokens": len(ids), "learnt": ranges}
    try:
        told = masked(tok, talk, ends)
    except Exception as error:
        told = None
        out["transformers_failed"] = type(error).__name__
    if told:
        assert told[0] == ids, "other tokens"
        assert [end for _, end in told[1]] == [end for _, end in ranges], (told[1], ranges)
        assert all(a <= b for (a, _), (b, _) in zip(told[1], ranges)), (told[1], ranges)
        out["transformers"] = told[1]
    return out


def sources(fixtures):
    found = {f"{folder}/{path.stem}": path.read_bytes().decode("utf-8")
             for folder in ("templates", "training_templates")
             for path in (fixtures / folder).glob("*.jinja")}
    return dict(sorted(found.items()))


class Then(datetime.datetime):
    @classmethod
    def now(cls, tz=None):
        return NOW


def main():
    chat_template_utils.datetime = Then
    fixtures, plain = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2])
    templates = {}
    for name, source in sources(fixtures).items():
        try:
            tok, specials = tokenizer(plain, source)
            ends = stops(tok, specials)
        except Exception as error:
            print(f"{name}: {error!r}", file=sys.stderr)
            continue
        results = {talk: case(tok, messages, ends) for talk, messages in TALKS.items()}
        templates[name] = {"sha256": hashlib.sha256(source.encode()).hexdigest(), "specials": specials,
                           "stops": sorted(ends), "results": results}
    json.dump({"now": NOW.isoformat(), "talks": TALKS, "templates": templates}, sys.stdout, ensure_ascii=False, indent=None, separators=(",", ":"))
    print()


main()
