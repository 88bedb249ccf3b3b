#!/usr/bin/env python3
# pins: {torch}
# stdout: schedules.json
"""Learning rates that PyTorch and transformers give, update by update, for our schedules.

Each case: our schedule, the run's updates and learning rate, and the rate of every update. Plateau
cases: what is watched, and what the rate is multiplied with after each value.
"""
import json
import sys

import torch
import transformers
from torch.optim import lr_scheduler

LR = 0.02


def rates(make, updates):
    parameter = torch.nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([parameter], lr=LR)
    schedule = make(optimizer)
    found = []
    for _ in range(updates):
        found.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    return found


def case(name, make, updates, decay, warmup=0):
    schedule = {"warmup_updates": warmup, "decay": decay}
    return dict(name=name, schedule=schedule, updates=updates, learning_rate=LR, rates=rates(make, updates))


def exponential(rate, steps, staircase):
    return {"type": "exponential", "rate": rate, "steps": steps, "staircase": staircase}


def cosine(t_0, t_mult, eta_min):
    return {"type": "cosine", "t_0": t_0, "t_mult": t_mult, "eta_min": eta_min}


def one_cycle(max_lr, pct_start, div_factor, final_div_factor):
    return {
        "type": "one_cycle",
        "max_lr": max_lr,
        "pct_start": pct_start,
        "div_factor": div_factor,
        "final_div_factor": final_div_factor,
    }


def wsd(optimizer, warm, fall, updates):
    return transformers.get_wsd_schedule(
        optimizer, num_warmup_steps=warm, num_decay_steps=fall, num_training_steps=updates
    )


CASES = [
    case("constant with warm-up",
         lambda o: transformers.get_constant_schedule_with_warmup(o, 5), 12, {"type": "none"}, 5),
    case("linear",
         lambda o: transformers.get_linear_schedule_with_warmup(o, 0, 12), 12, {"type": "linear"}),
    case("linear with warm-up",
         lambda o: transformers.get_linear_schedule_with_warmup(o, 4, 13), 13, {"type": "linear"}, 4),
    case("exponential",
         lambda o: lr_scheduler.ExponentialLR(o, 0.8 ** (1 / 3)), 12, exponential(0.8, 3, False)),
    case("exponential in stairs",
         lambda o: lr_scheduler.StepLR(o, 3, 0.8), 12, exponential(0.8, 3, True)),
    case("cosine with warm-up",
         lambda o: transformers.get_cosine_schedule_with_warmup(o, 3, 14), 14, cosine(None, 1, 0.0), 3),
    case("cosine to a floor",
         lambda o: lr_scheduler.CosineAnnealingLR(o, 12, 0.001), 12, cosine(None, 1, 0.001)),
    case("warm restarts",
         lambda o: lr_scheduler.CosineAnnealingWarmRestarts(o, 5, 1, 0.002), 17, cosine(5, 1, 0.002)),
    case("warm restarts that grow",
         lambda o: lr_scheduler.CosineAnnealingWarmRestarts(o, 2, 3), 30, cosine(2, 3, 0.0)),
    case("one cycle",
         lambda o: lr_scheduler.OneCycleLR(o, LR, total_steps=21), 20, one_cycle(None, 0.3, 25.0, 1e4)),
    case("one cycle with its own settings",
         lambda o: lr_scheduler.OneCycleLR(
             o, 0.5, total_steps=11, pct_start=0.45, div_factor=10.0, final_div_factor=50.0),
         10, one_cycle(0.5, 0.45, 10.0, 50.0)),
    case("inverse square root",
         lambda o: transformers.get_inverse_sqrt_schedule(o, 4), 16,
         {"type": "inverse_sqrt", "steps": 4}, 4),
    case("polynomial",
         lambda o: transformers.get_polynomial_decay_schedule_with_warmup(o, 3, 15, lr_end=0.001, power=2.5),
         15, {"type": "polynomial", "power": 2.5, "end_lr": 0.001}, 3),
    case("warm-up, stable, decay",
         lambda o: wsd(o, 4, 6, 20), 20,
         {"type": "wsd", "warmup_fraction": 0.2, "decay_fraction": 0.3}),
]
# PyTorch takes a step after its last update, so its run is one longer than the updates we compare.
for found in CASES:
    if found["schedule"]["decay"]["type"] == "one_cycle":
        found["updates"] += 1


def plateau(values, goal, patience, rate, times):
    parameter = torch.nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([parameter], lr=1.0)
    lowest = 1.0 * rate**times
    schedule = lr_scheduler.ReduceLROnPlateau(
        optimizer, mode="min" if goal == "minimize" else "max", factor=rate, patience=patience,
        threshold=0.0, min_lr=lowest, eps=0.0,
    )
    factors = []
    for value in values:
        schedule.step(value)
        factors.append(optimizer.param_groups[0]["lr"])
    settings = {"watch": "validation", "patience": patience, "rate": rate, "times": times}
    return dict(plateau=settings, goal=goal, values=values, factors=factors)


VALUES = [3.0, 2.5, 2.5, 2.6, 2.4, 2.4, 2.7, 2.8, 2.9, 2.9, 2.9, 2.9, 2.3, 2.3, 2.4, 2.5, 2.6, 2.7]
PLATEAUS = [
    plateau(VALUES, "minimize", 1, 0.5, 2),
    plateau(VALUES, "minimize", 0, 0.25, 9),
    plateau(VALUES, "maximize", 3, 0.5, 9),
]
json.dump(dict(schedules=CASES, plateaus=PLATEAUS), sys.stdout, indent=1)
print()
