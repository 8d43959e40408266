"""The untouched model, which every comparison needs."""
