"""GGUF files and llama.cpp: writing a transformers model as one, quantising it, and scoring with it."""
