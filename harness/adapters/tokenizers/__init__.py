"""Adapters that learn a vocabulary."""
