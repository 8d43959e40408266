"""What tokenizers have in common: their shared parameters, the text that they learn from, and how they are opened."""
