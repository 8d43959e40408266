"""Adapters that make a smaller model learn from a larger one."""
