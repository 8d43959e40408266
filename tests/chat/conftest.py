"""Chat models: tokenizers with templates, conversations as data, and what is made of both."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
