"""Adapters that make a given model smaller."""
