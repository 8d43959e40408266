"""Reports: pages and figures, pure functions of rows. ``harness.report.build`` has the two entry points."""
