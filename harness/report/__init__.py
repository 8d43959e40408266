"""Reports: pages and figures, pure functions of rows."""
