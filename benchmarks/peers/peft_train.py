"""transformers and PEFT: a plain loop over rows of equal length, loss on all tokens, AdamW.

Without a rank every weight learns. `bf16` is autocast over weights and adapters in f32, as
transformers' own trainer does it.
"""
from task import ASKED, Stretch, answer

import statistics

import torch
from transformers import AutoModelForCausalLM

torch.manual_seed(0)
torch.set_num_threads(ASKED["threads"])
model = AutoModelForCausalLM.from_pretrained(ASKED["model"], dtype=torch.float32)
if ASKED.get("rank"):
    from peft import LoraConfig, get_peft_model

    targets = ASKED["targets"] if ASKED["targets"] != ["all-linear"] else "all-linear"
    lora = LoraConfig(r=ASKED["rank"], lora_alpha=2 * ASKED["rank"], target_modules=targets, task_type="CAUSAL_LM")
    model = get_peft_model(model, lora)
model.train()
learns = [parameter for parameter in model.parameters() if parameter.requires_grad]
optimizer = torch.optim.AdamW(learns, lr=ASKED["learning_rate"], weight_decay=ASKED["weight_decay"])

rows, steps, warm = ASKED["rows"], ASKED["steps"], ASKED["warm_up_steps"]
tokens, losses, seconds, cores = torch.tensor(ASKED["documents"]), [], [], []
for at in range(warm + steps):
    ids = tokens[at * rows : (at + 1) * rows]
    with Stretch() as stretch:
        with torch.autocast("cpu", torch.bfloat16, enabled=ASKED["precision"] == "bf16"):
            loss = model(input_ids=ids, attention_mask=torch.ones_like(ids), labels=ids).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        losses.append(float(loss.detach()))
    if at >= warm:
        seconds.append(stretch.seconds)
        cores.append(stretch.cores)

answer(
    ["torch", "transformers", "peft"],
    torch.get_num_threads(),
    ASKED["model"],
    tokens_per_second=tokens.shape[1] * rows / statistics.median(seconds),
    first_loss=losses[0],
    last_loss=losses[-1],
    learns=sum(parameter.numel() for parameter in learns),
    cores=max(cores),
)
