//! Checkpoints as named tensor views: safetensors, GGUF, Hugging Face folders; tokenizers; model sources and cache.
