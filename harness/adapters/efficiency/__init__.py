"""Modifiers: adapters that change how the stage they are added to trains."""
