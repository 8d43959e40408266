"""Opening, saving and inspecting checkpoints. Heavy packages are imported inside functions."""
