"""Statistics and summaries: pure functions of rows."""
