"""What is measured on an opened checkpoint: one file, one task; the file name is its name in suites."""
