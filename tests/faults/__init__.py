"""The fault suite: real sweeps are killed, starved and confused, and what must hold is counted."""
