"""Muon for matrices and AdamW for the rest, behind one set of parameter groups."""

from __future__ import annotations

import pytest
import torch

from harness.training.optimizers import build_optimizer


@pytest.fixture
def model(llama, open_live):
    return open_live(llama).train()


def one_step(model, optimizer):
    ids = torch.arange(2, 34).reshape(2, 16)
    model(input_ids=ids, labels=ids).loss.backward()
    before = {name: value.detach().clone() for name, value in model.named_parameters()}
    optimizer.step()
    return {name: before[name] - value.detach() for name, value in model.named_parameters()}


def test_matrices_go_to_muon_and_the_rest_to_adamw(model):
    optimizer = build_optimizer("muon", model, 1e-2, 0.1)
    names = {id(value): name for name, value in model.named_parameters()}
    matrices, rest = ([names[id(p)] for group in one.param_groups for p in group["params"]] for one in optimizer.inner)
    assert len(matrices) == 14 and all(name.endswith("_proj.weight") for name in matrices)
    assert sorted([*matrices, *rest]) == sorted(names.values())
    assert [type(one).__name__ for one in optimizer.inner] == ["Muon", "AdamW"]


def test_a_step_of_muon_is_nearly_orthogonal():
    """All singular values of the update are close to each other, however far apart those of the gradient are."""
    layer = torch.nn.Linear(32, 32, bias=False)
    left, right = (torch.linalg.qr(torch.randn(32, 32, generator=torch.Generator().manual_seed(i)))[0] for i in (1, 2))
    layer.weight.grad = left @ torch.diag(torch.logspace(0, -1, 32)) @ right
    before = layer.weight.detach().clone()
    build_optimizer("muon", layer, 1e-2, 0.0).step()
    values = torch.linalg.svdvals(before - layer.weight.detach())
    assert values[0] / values[-1] < 2


def test_both_move_every_trainable_parameter(model):
    for name in ("muon", "adamw"):
        moved = one_step(model, build_optimizer(name, model, 1e-2, 0.0))
        assert all(bool(change.abs().max() > 0) for change in moved.values())


def test_frozen_parameters_are_left_alone(model):
    model.requires_grad_(False)
    model.model.norm.weight.requires_grad_(True)
    for name in ("muon", "adamw"):
        optimizer = build_optimizer(name, model, 1e-2, 0.0)
        assert [len(group["params"]) for group in optimizer.param_groups] == [1]


def test_one_scheduler_drives_both(model):
    optimizer = build_optimizer("muon", model, 1e-2, 0.0)
    for group in optimizer.param_groups:
        group["lr"] = 0.5
    assert [group["lr"] for one in optimizer.inner for group in one.param_groups] == [0.5, 0.5]


def test_state_survives_saving(model):
    optimizer = build_optimizer("muon", model, 1e-2, 0.0)
    one_step(model, optimizer)
    state = optimizer.state_dict()
    fresh = build_optimizer("muon", model, 1e-2, 0.0)
    fresh.load_state_dict(state)
    assert [len(one.state) for one in fresh.inner] == [len(one.state) for one in optimizer.inner] != [0, 0]
    held = [group for one in fresh.inner for group in one.param_groups]
    assert all(mine is theirs for mine, theirs in zip(fresh.param_groups, held, strict=True))
    optimizer.zero_grad()
    assert all(value.grad is None for value in model.parameters())
