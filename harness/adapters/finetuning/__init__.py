"""Adapters that train a given model further."""
