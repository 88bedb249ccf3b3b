#!/usr/bin/env python3
# pins: {torch}
"""Makes golden/optimizers_8bit.json: where bitsandbytes' 8-bit optimizers take one parameter.

    shape   of the parameter: enough numbers to be rounded, the last block of 256 short
    every   of how many values one is written down
    cases   each with `spec`, the settings in the seam's spelling, `lr`, and `values` after every
            update

Moments are rounded to the nearest code by distance. bitsandbytes' CPU code looks codes up in a table
of 65,536 equal steps instead, which is off for numbers below a ten-thousandth of their block's
largest; its GPU code searches for the nearest.

The parameter and its gradients are made of whole numbers by `made`, here and in
src/optimizer/tests.rs.
"""
import json
import pathlib

import bitsandbytes
import torch
from bitsandbytes.backends.cpu import ops

OUT = pathlib.Path(__file__).parent / "golden" / "optimizers_8bit.json"
SHAPE, EVERY, UPDATES = [20, 259], 61, 8

CASES = [
    ("adamw_8bit", bitsandbytes.optim.AdamW8bit, 0.01, dict(betas=[0.9, 0.999], eps=1e-8, weight_decay=0.0)),
    ("adamw_8bit", bitsandbytes.optim.AdamW8bit, 0.01, dict(betas=[0.7, 0.9], eps=1e-3, weight_decay=0.1)),
    ("adam_8bit", bitsandbytes.optim.Adam8bit, 0.01, dict(betas=[0.8, 0.95], eps=1e-6, weight_decay=0.1)),
    ("lion_8bit", bitsandbytes.optim.Lion8bit, 0.01, dict(betas=[0.9, 0.99], weight_decay=0.0)),
    ("lion_8bit", bitsandbytes.optim.Lion8bit, 0.01, dict(betas=[0.5, 0.7], weight_decay=0.1)),
]


def made(update):
    rows, cols = SHAPE
    i = torch.arange(rows * cols)
    whole = (i * 7919 + update * 104729) % 2001
    return ((whole - 1000).float() / 1000 / 2 ** (i // cols % 12)).reshape(SHAPE)


def nearest(values, code, absmax, out, blocksize):
    flat = values.flatten()
    for block in range(absmax.numel()):
        part = slice(block * blocksize, (block + 1) * blocksize)
        largest = flat[part].abs().max()
        absmax[block] = largest
        shares = (flat[part] / largest.clamp_min(1e-38)).double()
        out.view(-1)[part] = (shares[:, None] - code.double()[None]).abs().argmin(1).to(torch.uint8)


ops._quant_blockwise_fp32_direct = nearest


def run(optimizer, lr, settings):
    parameter = torch.nn.Parameter(made(0))
    optimizer = optimizer([parameter], lr=lr, **settings)
    values = []
    for update in range(1, UPDATES + 1):
        parameter.grad = made(update)
        optimizer.step()
        values.append(parameter.detach().flatten()[::EVERY].tolist())
    return values


cases = [
    {"spec": {"type": kind, **settings}, "lr": lr, "values": run(optimizer, lr, settings)}
    for kind, optimizer, lr, settings in CASES
]
OUT.write_text(json.dumps({"shape": SHAPE, "every": EVERY, "cases": cases}) + "\n")
