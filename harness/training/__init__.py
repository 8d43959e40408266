"""The one way a stage trains: through transformers' Trainer, metered. Heavy imports inside functions."""
