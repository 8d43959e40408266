"""Optimisers that ``Trainer`` does not build by name."""

from __future__ import annotations

from typing import Any

# Embeddings and output layers by their names in llama, gpt2, bert, t5 and bart; T5's position biases are looked up too.
_NOT_HIDDEN = ("embed", "lm_head", "wte", "wpe", "shared.weight", "relative_attention_bias")


def build_optimizer(name: str, model: Any, learning_rate: float, weight_decay: float) -> Any:
    """Return an optimiser over every trainable parameter.

    ``adamw`` is torch's. ``paged_adamw`` is bitsandbytes' 32-bit AdamW whose state lies in unified memory (Dettmers et
    al. 2023). ``muon`` (Jordan et al. 2024, ``torch.optim.Muon``) orthogonalises the momentum of hidden weight
    matrices; embeddings, norms and biases keep AdamW, both at the same peak rate.
    """
    import torch

    trainable = [(key, value) for key, value in model.named_parameters() if value.requires_grad]
    if name == "adamw":
        return torch.optim.AdamW([value for _, value in trainable], lr=learning_rate, weight_decay=weight_decay)
    if name == "paged_adamw":
        from bitsandbytes.optim import PagedAdamW32bit

        return PagedAdamW32bit([value for _, value in trainable], lr=learning_rate, weight_decay=weight_decay)
    return _muon_with_adamw(trainable, learning_rate, weight_decay)


def optimizer_state(optimizer: Any) -> list[Any]:
    """Every tensor of more than one value that an optimiser keeps: moments, not the counters of steps."""
    import torch

    kept = (value for part in _parts(optimizer) for state in part.state.values() for value in state.values())
    return [value for value in kept if isinstance(value, torch.Tensor) and value.numel() > 1]


def _parts(optimizer: Any) -> list[Any]:
    """The optimisers below accelerate's wrapper: several where one was made of them."""
    plain = getattr(optimizer, "optimizer", optimizer)
    parts: list[Any] = getattr(plain, "inner", [plain])
    return parts


def never_reached(model: Any, optimizer: Any) -> list[str]:
    """Names of trainable parameters that no gradient ever reached: an optimiser keeps no state for them."""
    reached = {id(parameter) for part in _parts(optimizer) for parameter in part.state}
    return [name for name, value in model.named_parameters() if value.requires_grad and id(value) not in reached]


def _muon_with_adamw(trainable: list[tuple[str, Any]], learning_rate: float, weight_decay: float) -> Any:
    import torch

    def is_hidden_matrix(name: str, value: Any) -> bool:
        return value.ndim == 2 and not any(word in name for word in _NOT_HIDDEN)

    class MuonWithAdamW(torch.optim.Optimizer):
        """Two optimisers behind one set of parameter groups, so that one scheduler drives both."""

        def __init__(self) -> None:
            matrices = [value for key, value in trainable if is_hidden_matrix(key, value)]
            others = [value for key, value in trainable if not is_hidden_matrix(key, value)]
            groups = [{"params": values} for values in (matrices, others) if values]
            super().__init__(groups, {"lr": learning_rate})
            self.inner = []
            if matrices:
                self.inner.append(torch.optim.Muon(matrices, lr=learning_rate, weight_decay=weight_decay))
            if others:
                self.inner.append(torch.optim.AdamW(others, lr=learning_rate, weight_decay=weight_decay))
            self._share_groups()

        def _share_groups(self) -> None:
            self.param_groups = [group for optimizer in self.inner for group in optimizer.param_groups]

        def step(self, closure: Any = None) -> None:
            """Take one step of each."""
            for optimizer in self.inner:
                optimizer.step()

        def zero_grad(self, set_to_none: bool = True) -> None:
            """Clear the gradients of both."""
            for optimizer in self.inner:
                optimizer.zero_grad(set_to_none)

        def state_dict(self) -> dict[str, Any]:
            """State of both, in order."""
            return {"inner": [optimizer.state_dict() for optimizer in self.inner]}

        def load_state_dict(self, state: dict[str, Any]) -> None:
            """Restore the state of both, in order."""
            for optimizer, part in zip(self.inner, state["inner"], strict=True):
                optimizer.load_state_dict(part)
            # Loading replaces the groups, and accelerate loads every optimiser: the scheduler must drive the new ones.
            self._share_groups()

    return MuonWithAdamW()
