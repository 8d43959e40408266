"""Round-to-nearest weights: the codes, how they are packed, and the linear layer that computes with them.

Every group of ``group_size`` weights along a row (the whole row where it is not given) has a scale in 16 bits, and
where it is not symmetric a zero point of one byte::

    symmetric    scale = max|w| / (2^(bits-1) - 1)          w ~ scale (code - 2^(bits-1))
    asymmetric   scale = (max w - min w) / (2^bits - 1)     w ~ scale (code - zero)      (0 is within the range)

Codes are rounded against the scale as it is stored. They lie in one stream of bits, so that 3 bits take 3 bits.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch.nn import functional

from harness.errors import StepError

STORED = torch.float16


@dataclass(frozen=True)
class Grid:
    """How finely weights are rounded; ``group_size`` None is a whole row."""

    bits: int
    group_size: int | None
    symmetric: bool

    def groups(self, width: int, name: str = "a layer") -> int:
        """Groups of a row of ``width``; ``StepError`` where the size does not divide it."""
        size = self.group_size or width
        if width % size:
            raise StepError(f"group_size {size} does not divide the {width} inputs of {name}: use a divisor of {width}")
        return width // size


def round_to_grid(weight: Any, grid: Grid, name: str = "a layer") -> tuple[Any, Any, Any]:
    """Codes uint8 [out, in], scales float16 [out, groups], zeros uint8 [out, groups] of float weights [out, in]."""
    rows, width = weight.shape
    grouped = weight.float().view(rows, grid.groups(width, name), -1)
    top = 2**grid.bits - 1
    if grid.symmetric:
        half = 2 ** (grid.bits - 1)
        scales = _stored(grouped.abs().amax(-1) / (half - 1))
        zeros = torch.full_like(scales, half)
    else:
        low, high = grouped.amin(-1).clamp(max=0), grouped.amax(-1).clamp(min=0)
        scales = _stored((high - low) / top)
        zeros = (-low / scales).round().clamp(0, top)
    codes = ((grouped / scales[..., None]).round() + zeros[..., None]).clamp(1 if grid.symmetric else 0, top)
    return codes.view(rows, width).to(torch.uint8), scales.to(STORED), zeros.to(torch.uint8)


def from_grid(codes: Any, scales: Any, zeros: Any) -> Any:
    """Float32 weights [out, in] that the codes stand for."""
    rows, width = codes.shape
    grouped = codes.view(rows, scales.shape[1], -1).float()
    return ((grouped - zeros.float()[..., None]) * scales.float()[..., None]).view(rows, width)


def pack(codes: Any, bits: int) -> Any:
    """Codes as one stream of bits in uint8, the lowest bit of each first, the last byte filled with zeros."""
    flat, eight = codes.flatten(), torch.arange(8, dtype=torch.uint8, device=codes.device)
    stream = (flat[:, None] >> eight[:bits]) & 1
    stream = functional.pad(stream.flatten(), (0, -stream.numel() % 8)).view(-1, 8)
    return (stream << eight).sum(1, dtype=torch.uint8)


def unpack(packed: Any, bits: int, count: int) -> Any:
    """The first ``count`` codes of a stream."""
    eight = torch.arange(8, dtype=torch.uint8, device=packed.device)
    stream = ((packed[:, None] >> eight) & 1).flatten()[: count * bits].view(count, bits)
    return (stream << eight[:bits]).sum(1, dtype=torch.uint8)


class RoundedLinear(torch.nn.Module):
    """A linear layer that holds codes, and at every product the weights that they stand for."""

    def __init__(self, inputs: int, outputs: int, grid: Grid, bias: bool) -> None:
        super().__init__()
        self.in_features, self.out_features, self.grid = inputs, outputs, grid
        groups, size = grid.groups(inputs), -(-inputs * outputs * grid.bits // 8)
        self.register_buffer("packed", torch.empty(size, dtype=torch.uint8))
        self.register_buffer("scales", torch.empty(outputs, groups, dtype=STORED))
        self.register_buffer("zeros", None if grid.symmetric else torch.empty(outputs, groups, dtype=torch.uint8))
        self.bias = torch.nn.Parameter(torch.empty(outputs)) if bias else None

    @classmethod
    def of(cls, linear: Any, grid: Grid, name: str) -> RoundedLinear:
        """The layer with the rounded weights of a plain one."""
        codes, scales, zeros = round_to_grid(linear.weight.data, grid, name)
        made = cls(linear.in_features, linear.out_features, grid, linear.bias is not None)
        made.packed, made.scales = pack(codes, grid.bits), scales
        made.zeros = None if grid.symmetric else zeros
        if linear.bias is not None:
            made.bias = torch.nn.Parameter(linear.bias.data, requires_grad=False)
        return made

    @property
    def quantized_as(self) -> str:
        """What it holds, in a word."""
        return f"rtn int{self.grid.bits}"

    @property
    def logical_size(self) -> int:
        """Number of weights that the codes stand for."""
        return self.in_features * self.out_features

    @property
    def weight(self) -> Any:
        """The weights, float32 [out, in], made anew."""
        codes = unpack(self.packed, self.grid.bits, self.logical_size).view(self.out_features, self.in_features)
        zeros = self.zeros
        if zeros is None:
            zeros = torch.full_like(self.scales, 2 ** (self.grid.bits - 1))
        return from_grid(codes, self.scales, zeros)

    def forward(self, states: Any) -> Any:
        """Multiply with the weights in the type of the states."""
        bias = None if self.bias is None else self.bias.to(states.dtype)
        return functional.linear(states, self.weight.to(states.dtype), bias)


def _stored(scales: Any) -> Any:
    """Scales as they will be read back, never zero."""
    return scales.clamp(min=torch.finfo(STORED).tiny).to(STORED).float()
