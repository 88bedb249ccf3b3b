#!/usr/bin/env python3
# pins: {torch}
"""Makes golden/optimizers.json: where optimizers that others wrote take two parameters.

    start      `matrix`, four rows of three, and `vector`, five numbers
    gradients  of every update, the same for every case, whatever the parameters are
    cases      each with `spec`, the settings in the seam's spelling; `lr` of every update; and
               `matrix` and `vector` after every update. Of schedule-free ones, that is where
               gradients are asked for; `averaged_matrix` and `averaged_vector` are the model

The optimizers are those of torch.optim; Adafactor of transformers, LAMB of timm, Lion of
lion-pytorch, schedule-free AdamW of schedulefree. All compute in 64 bits, so that what is compared
is the method: Muon's orthogonalisation too, which torch rounds to bfloat16 for speed.
"""
import json
import pathlib
import sys
from unittest import mock

import torch
from lion_pytorch import Lion
from schedulefree import AdamWScheduleFree
from timm.optim.lamb import Lamb
from transformers.optimization import Adafactor

OUT = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else pathlib.Path(__file__).parent / "golden")
UPDATES = 8
SCHEDULE = [0.25, 0.5, 1.0, 1.0, 0.75, 0.5, 0.25, 0.125]

ADAM = dict(betas=[0.9, 0.999], eps=1e-8, weight_decay=0.0)
SHORT = dict(betas=[0.7, 0.9], eps=1e-3, weight_decay=0.1)
ADAFACTOR = dict(eps=[1e-30, 1e-3], clip_threshold=1.0, decay_rate=-0.8, weight_decay=0.0)
RELATIVE = dict(scale_parameter=True, relative_step=True, warmup_init=False)
RMSPROP = dict(momentum=0.0, alpha=0.99, eps=1e-8, centered=False, weight_decay=0.0)

# (type, peak learning rate, settings)
CASES = [
    ("sgd", 0.1, dict(momentum=0.0, dampening=0.0, weight_decay=0.0, nesterov=False)),
    ("sgd", 0.1, dict(momentum=0.9, dampening=0.3, weight_decay=0.1, nesterov=False)),
    ("sgd", 0.1, dict(momentum=0.8, dampening=0.0, weight_decay=0.1, nesterov=True)),
    ("adam", 0.1, dict(**ADAM, amsgrad=False)),
    ("adam", 0.1, dict(**SHORT, amsgrad=True)),
    ("adamw", 0.1, dict(**ADAM, amsgrad=False)),
    ("adamw", 0.1, dict(**SHORT, amsgrad=True)),
    ("adamax", 0.1, ADAM),
    ("adamax", 0.1, SHORT),
    ("nadam", 0.1, dict(**ADAM, momentum_decay=0.004)),
    ("nadam", 0.1, dict(**SHORT, momentum_decay=0.1)),
    ("radam", 0.1, ADAM),
    ("radam", 0.1, SHORT),
    ("adagrad", 0.3, dict(initial_accumulator_value=0.0, lr_decay=0.0, weight_decay=0.0, eps=1e-10)),
    ("adagrad", 0.3, dict(initial_accumulator_value=0.5, lr_decay=0.1, weight_decay=0.1, eps=1e-3)),
    ("adadelta", 1.0, dict(rho=0.9, eps=1e-6, weight_decay=0.0)),
    ("adadelta", 1.0, dict(rho=0.7, eps=1e-2, weight_decay=0.1)),
    ("rmsprop", 0.1, RMSPROP),
    ("rmsprop", 0.1, dict(momentum=0.7, alpha=0.8, eps=1e-3, centered=True, weight_decay=0.1)),
    ("adafactor", 0.1, dict(**ADAFACTOR, **RELATIVE)),
    ("adafactor", 0.1, dict(**ADAFACTOR, **(RELATIVE | dict(warmup_init=True)))),
    (
        "adafactor",
        0.1,
        dict(
            eps=[1e-3, 1e-3],
            clip_threshold=0.5,
            decay_rate=-0.5,
            weight_decay=0.1,
            scale_parameter=False,
            relative_step=False,
            warmup_init=False,
        ),
    ),
    ("lion", 0.05, dict(betas=[0.9, 0.99], weight_decay=0.0)),
    ("lion", 0.05, dict(betas=[0.5, 0.7], weight_decay=0.1)),
    ("lamb", 0.1, dict(betas=[0.9, 0.999], eps=1e-6, weight_decay=0.0, bias_correction=True)),
    ("lamb", 0.1, dict(betas=[0.7, 0.9], eps=1e-3, weight_decay=0.1, bias_correction=False)),
    ("muon", 0.1, dict(momentum=0.95, nesterov=True, weight_decay=0.0)),
    ("muon", 0.1, dict(momentum=0.8, nesterov=False, weight_decay=0.1)),
    ("schedule_free_adamw", 0.1, dict(**ADAM, warmup_steps=0)),
    ("schedule_free_adamw", 0.1, dict(**SHORT, warmup_steps=3)),
]

TORCH = {
    "sgd": torch.optim.SGD,
    "adam": torch.optim.Adam,
    "adamw": torch.optim.AdamW,
    "adamax": torch.optim.Adamax,
    "nadam": torch.optim.NAdam,
    "radam": torch.optim.RAdam,
    "adagrad": torch.optim.Adagrad,
    "adadelta": torch.optim.Adadelta,
    "rmsprop": torch.optim.RMSprop,
    "lion": Lion,
    "schedule_free_adamw": AdamWScheduleFree,
}


def optimizers(kind, lr, settings, matrix, vector):
    """One for both parameters, or one each."""
    both = [matrix, vector]
    if kind == "adafactor":
        return [Adafactor(both, lr=None if settings["relative_step"] else lr, **settings)]
    if kind == "lamb":
        # As the paper has it: no clipping, and every parameter adapts, decayed or not.
        return [Lamb(both, lr=lr, max_grad_norm=None, always_adapt=True, **settings)]
    if kind == "muon":
        # Muon is for matrices; its author's recipe gives the rest to AdamW with these settings.
        rest = dict(betas=(0.9, 0.95), eps=1e-10, weight_decay=settings["weight_decay"])
        return [torch.optim.Muon([matrix], lr=lr, **settings), torch.optim.AdamW([vector], lr=lr, **rest)]
    return [TORCH[kind](both, lr=lr, **settings)]


def run(kind, peak, settings, start, gradients):
    parameters = {name: torch.nn.Parameter(value.clone()) for name, value in start.items()}
    made = optimizers(kind, peak, settings, **parameters)
    rates = [peak * factor for factor in SCHEDULE]
    case = dict(spec=dict(type=kind, **settings), lr=rates, matrix=[], vector=[])
    for update, lr in enumerate(rates):
        for name, parameter in parameters.items():
            parameter.grad = gradients[name][update].clone()
        for optimizer in made:
            for group in optimizer.param_groups:
                if group["lr"] is not None:
                    group["lr"] = lr
            if kind == "schedule_free_adamw":
                optimizer.train()
            with mock.patch("torch.bfloat16", torch.float64):
                optimizer.step()
        for name, parameter in parameters.items():
            case[name].append(parameter.flatten().tolist())
        if kind == "schedule_free_adamw":
            made[0].eval()
            for name, parameter in parameters.items():
                case.setdefault(f"averaged_{name}", []).append(parameter.flatten().tolist())
    return case


def main():
    torch.set_default_dtype(torch.float64)
    draw = torch.Generator().manual_seed(17)
    # Multiples of 1/64 are the same in 32 bits.
    random = lambda *shape: (64 * torch.randn(shape, generator=draw)).round() / 64
    start = dict(matrix=random(4, 3), vector=random(5))
    gradients = dict(matrix=random(UPDATES, 4, 3), vector=random(UPDATES, 5))
    cases = [run(*case, start, gradients) for case in CASES]
    flat = lambda tensors: {name: tensor.flatten().tolist() for name, tensor in tensors.items()}
    each = {name: [gradient.flatten().tolist() for gradient in gradients[name]] for name in gradients}
    text = json.dumps(dict(start=flat(start), gradients=each, cases=rounded(cases)))
    (OUT / "optimizers.json").write_text(text.replace('{"spec"', '\n{"spec"') + "\n")


def rounded(value):
    """Ten digits are more than 32 bits can hold, and do not depend on the machine."""
    if isinstance(value, float):
        return float(f"{value:.10g}")
    if isinstance(value, dict):
        return {key: rounded(inner) for key, inner in value.items()}
    return [rounded(inner) for inner in value] if isinstance(value, list) else value


if __name__ == "__main__":
    main()
