#!/usr/bin/env python3
# pins: {torch}
# fetch: converters
# args: {cache}/fixtures/llama.cpp
"""Makes golden/*/model.gguf of the reference checkpoints with llama.cpp's own converter.

The first argument is a folder with llama.cpp's Python packages `conversion` and `gguf-py/gguf`,
which `cargo xtask fetch --what converters` brings.
The files have no vocabulary: the checkpoints have none. Weights stay in 32 bits.
"""
import json
import pathlib
import shutil
import sys
import tempfile

sys.path[:0] = [sys.argv[1], f"{sys.argv[1]}/gguf-py"]

import gguf
from conversion import ModelBase, ModelType, get_model_architecture, get_model_class

OUT = pathlib.Path(sys.argv[2] if len(sys.argv) > 2 else pathlib.Path(__file__).parent / "golden")
NAMES = [
    "qwen2", "qwen3", "gemma2", "gemma3", "phi3", "phi3-longrope", "smollm3", "olmo2", "gpt2", "gpt-neox"
]
VOCABULARY = 96


def convert(source, target):
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        for file in ("config.json", "model.safetensors"):
            shutil.copy(source / file, folder)
        config = json.loads((folder / "config.json").read_text())
        # What the converter asks for, and these checkpoints leave to transformers' defaults.
        if "rope_parameters" in config:
            rope = config["rope_parameters"]
            rope.setdefault("original_max_position_embeddings", config["max_position_embeddings"])
        (folder / "config.json").write_text(json.dumps(config))
        tokens = {"model": {"vocab": {str(i): i for i in range(VOCABULARY)}}, "added_tokens": []}
        (folder / "tokenizer.json").write_text(json.dumps(tokens))
        settings = ModelBase.load_hparams(folder, False)
        kind = get_model_class(get_model_architecture(settings, ModelType.TEXT))
        kind.set_vocab = lambda self: None
        model = kind(folder, gguf.LlamaFileType.ALL_F32, target, model_name="reference")
        # Older names of keys, which some converters ask for.
        if config["model_type"] == "gpt_neox":
            model.hparams["rotary_pct"] = config["rope_parameters"]["partial_rotary_factor"]
        if config["model_type"] == "gpt2":
            model.hparams["n_ctx"] = config["n_positions"]
        model.write()


def main():
    for name in sys.argv[3:] or NAMES:
        convert(OUT / name, OUT / name / "model.gguf")
        print(name, (OUT / name / "model.gguf").stat().st_size)


if __name__ == "__main__":
    main()
