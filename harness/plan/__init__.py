"""Suites, method expressions, cells and steps: what is to be run, decided without importing anything heavy."""
