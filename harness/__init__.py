"""Benchmark and compare LLM training and compression techniques, with numbers that can be checked.

The flow is one way: a suite (``harness.plan``) becomes a plan of steps, each step runs in a process of its own
(``harness.run``), leaves one immutable record (``harness.results``), and every table, statistic and page
(``harness.analyse``, ``harness.report``) is a pure function of the rows read from those records.
"""

__version__ = "0.1.0"
