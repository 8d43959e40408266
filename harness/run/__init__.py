"""Running steps: one process each, metered, with one record at the end."""
