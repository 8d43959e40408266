"""What people add: one file is one technique is one class; the file's name is the technique's name in suites.

The folders group the techniques; ``harness.catalogue`` finds them. Adapters never import each other, and they import
heavy packages only inside ``train``, ``compress`` and ``eval``.
"""
