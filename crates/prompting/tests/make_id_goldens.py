# pins: tokenizers==0.23.3 jinja2==3.1.6
# args: prompting/fixtures
"""Makes the tiny tokenizer of the tests and the ids that Python gives for it.

The tokenizer is byte-level BPE over a few sentences of ours.
"""

import json
import pathlib
import sys

from jinja2.sandbox import ImmutableSandboxedEnvironment
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, processors, trainers

SPECIALS = ["<s>", "</s>", "<|im_start|>", "<|im_end|>", "<|start|>", "<|mid|>", "<|turn|>"]
TEXT = """Is this mail spam or ham? The mail: Win a prize now, click here. Answer with one word.
The capital of France is Paris. The capital of Norway is Oslo. Be brief. Be helpful.
Classify the sentence as positive or negative. user assistant system INST
How old is the bridge? It was built in 1871, and it is about 153.5 years old.
""" * 4
USER = {"role": "user", "content": " What is the capital of France? "}
TALKS = {
    "user": [USER],
    "system_user": [{"role": "system", "content": "Be brief."}, USER],
    "turns": [USER, {"role": "assistant", "content": "Paris."}, {"role": "user", "content": "And of Norway? 漢é"}],
    "answered": [USER, {"role": "assistant", "content": "Paris."}],
}


def main():
    folder = pathlib.Path(sys.argv[1])
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=420, show_progress=False, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        special_tokens=[AddedToken(s, special=True, normalized=False) for s in SPECIALS])
    tokenizer.train_from_iterator(TEXT.splitlines(), trainer)
    tokenizer.add_tokens(["<think>", "</think>"])
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A", pair="<s> $A $B", special_tokens=[("<s>", tokenizer.token_to_id("<s>"))])
    tokenizer.save(str(folder / "tokenizer.json"), pretty=False)

    env = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True)
    cases = []
    for name in ("chatml", "headers"):
        template = env.from_string((folder / f"{name}.jinja").read_text("utf-8"))
        for talk, messages in TALKS.items():
            for prompt in (True, False):
                text = template.render(messages=messages, add_generation_prompt=prompt, bos_token="<s>",
                                       eos_token="</s>")
                cases.append({
                    "template": name, "talk": talk, "messages": messages, "add_generation_prompt": prompt,
                    "text": text, "ids": tokenizer.encode(text, add_special_tokens=False).ids})
    plain = [{"text": t, "ids": tokenizer.encode(t).ids}
             for t in ("The capital of Norway", " two  spaces\n", "漢字 é", "mail: <think>")]
    (folder / "ids.json").write_text(
        json.dumps({"chats": cases, "plain": plain}, ensure_ascii=False, indent=1) + "\n", "utf-8")


main()
