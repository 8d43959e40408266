"""The hub: what of it lies in its cache on this machine, and how what a suite needs gets there."""
