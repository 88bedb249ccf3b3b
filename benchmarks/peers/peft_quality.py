"""transformers and PEFT on a table of two columns: an adapter learns labels, then chooses among them.

Rows of a batch are padded to the longest, only labels are learnt, and each label of a row is scored
with a forward pass over the whole prompt: what people write who do this by hand. bf16 is autocast.
"""
from task import ASKED, Stretch, answer

import json

import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM, AutoTokenizer

torch.manual_seed(0)
torch.set_num_threads(ASKED["threads"])
tokenizer = AutoTokenizer.from_pretrained(ASKED["model"])
model = AutoModelForCausalLM.from_pretrained(ASKED["model"], dtype=torch.float32)
lora = LoraConfig(r=ASKED["rank"], lora_alpha=2 * ASKED["rank"], target_modules=ASKED["targets"], task_type="CAUSAL_LM")
model = get_peft_model(model, lora)
autocast = {"device_type": "cpu", "dtype": torch.bfloat16, "enabled": ASKED["precision"] == "bf16"}


def encoded(text):
    return tokenizer(text, add_special_tokens=False).input_ids


def read(path):
    """Prompts as the chat template writes them, and labels."""
    with open(path, encoding="utf-8") as file:
        rows = [json.loads(line) for line in file]
    return [(encoded(prompt(row["text"])), row["label"]) for row in rows]


def prompt(text):
    said = [{"role": "user", "content": ASKED["template"].replace("{text}", text)}]
    return tokenizer.apply_chat_template(said, tokenize=False, add_generation_prompt=True)


labels = {label: encoded(label) for label in ASKED["labels"]}
end = tokenizer.eos_token_id
optimizer = torch.optim.AdamW(
    [parameter for parameter in model.parameters() if parameter.requires_grad],
    lr=ASKED["learning_rate"],
    weight_decay=ASKED["weight_decay"],
)


def learn(rows):
    tokens = 0
    model.train()
    for at in range(0, len(rows), ASKED["rows"]):
        batch = [(ids + labels[label] + [end], len(ids)) for ids, label in rows[at : at + ASKED["rows"]]]
        longest = max(len(ids) for ids, _ in batch)
        ids = torch.tensor([ids + [end] * (longest - len(ids)) for ids, _ in batch])
        mask = torch.tensor([[1] * len(ids) + [0] * (longest - len(ids)) for ids, _ in batch])
        learnt = [[-100] * asked + ids[asked:] + [-100] * (longest - len(ids)) for ids, asked in batch]
        with torch.autocast(**autocast):
            loss = model(input_ids=ids, attention_mask=mask, labels=torch.tensor(learnt)).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        tokens += int(mask.sum())
    return tokens


@torch.no_grad()
def right(ids, label):
    def score(answer):
        with torch.autocast(**autocast):
            logits = model(torch.tensor([ids + answer])).logits[0, len(ids) - 1 : -1]
        return logits.float().log_softmax(-1).gather(1, torch.tensor([answer]).T).mean().item()

    return max(labels, key=lambda it: score(labels[it])) == label


rows, held_out = read(ASKED["training"]), read(ASKED["test"])
with Stretch() as training:
    tokens = learn(rows)
model.eval()
with Stretch() as evaluation:
    found = [right(*row) for row in held_out]
answer(
    ["torch", "transformers", "peft"],
    torch.get_num_threads(),
    ASKED["model"],
    rows_per_second=len(rows) / training.seconds,
    tokens_per_second=tokens / training.seconds,
    learnt_tokens_read=tokens,
    evaluated_rows_per_second=len(held_out) / evaluation.seconds,
    accuracy=sum(found) / len(found),
    right="".join("1" if it else "0" for it in found),
    cores=training.cores,
)
