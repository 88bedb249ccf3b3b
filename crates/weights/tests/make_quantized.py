#!/usr/bin/env python3
# pins: gguf==0.19.0 xllamacpp==2026.10.11549 numpy==2.4.6
"""Makes quantized/ beside it: values, and the blocks that other software makes of them.

Blocks of 32 are those of the `gguf` package, which llama.cpp's are checked to equal; blocks of 256,
for which that package has no encoder, are those of llama.cpp itself, called in the library of
`xllamacpp`. Each stretch of values has another distribution; `kinds.json` names them in order.
"""
import ctypes
import json
import pathlib
import sys

import gguf
import numpy as np
import xllamacpp.xllamacpp as library

HERE = pathlib.Path(__file__).parent
OUT = pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else HERE / "quantized"
FORMATS = ["Q8_0", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q4_K", "Q5_K", "Q6_K"]
BLOCK = 256


def values():
    rng = np.random.default_rng(20261126)
    n = 4 * BLOCK
    outliers = rng.standard_normal(n) * 0.02
    outliers[:: 61] *= 20
    edges = np.concatenate([
        np.zeros(BLOCK), np.full(BLOCK, 0.37), np.linspace(-1, 1, BLOCK), np.tile([-1.5, 0.5], 128),
    ])
    return {
        "normal": rng.standard_normal(n) * 0.02,
        "laplace": rng.laplace(size=n) * 0.05,
        "uniform": rng.uniform(-1, 1, n),
        "positive": 1 + rng.standard_normal(n) * 0.1,
        "outliers": outliers,
        "edges": edges,
    }


def llama_cpp(data, kind):
    ggml = ctypes.CDLL(library.__file__)
    quantize = ggml.ggml_quantize_chunk
    quantize.restype = ctypes.c_size_t
    quantize.argtypes = [
        ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p,
        ctypes.c_int64, ctypes.c_int64, ctypes.c_int64, ctypes.c_void_p,
    ]
    block, size = gguf.GGML_QUANT_SIZES[kind]
    out = np.zeros(data.size // block * size, dtype=np.uint8)
    written = quantize(int(kind), data.ctypes.data, out.ctypes.data, 0, 1, data.size, None)
    assert written == out.size, (written, out.size)
    return out


def main():
    OUT.mkdir(parents=True, exist_ok=True)
    kinds = values()
    data = np.concatenate(list(kinds.values())).astype("<f4")
    (OUT / "values.bin").write_bytes(data.tobytes())
    (OUT / "kinds.json").write_text(json.dumps({k: len(v) for k, v in kinds.items()}) + "\n")
    for name in FORMATS:
        kind = gguf.GGMLQuantizationType[name]
        stored = llama_cpp(data, kind)
        if not name.endswith("_K"):
            package = gguf.quants.quantize(data.reshape(1, -1), kind).reshape(-1)
            if not np.array_equal(package, stored):
                print(f"{name}: {np.count_nonzero(package != stored)} bytes differ from llama.cpp's")
            stored = package
        (OUT / f"{name}.bin").write_bytes(stored.tobytes())


if __name__ == "__main__":
    main()
