"""Adapters that align a model with preferences, through TRL."""
