"""Adapters that train a model from scratch."""
