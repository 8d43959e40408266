"""``ppo``: proximal policy optimisation of a model against a reward model, the last stage of RLHF."""

from __future__ import annotations

from dataclasses import dataclass

from harness.contract import Checkpoint, Hardware, Job, TrainingSetup, param
from harness.memory.held import Held
from harness.training.aligned import Aligned, PairParams, declined_by_ppo


class Ppo(Aligned):
    """The model is the policy; a copy of it is the reference, and a copy of the reward model tells values.

    An update of ``batch_size`` generated answers takes ``epochs`` x ``mini_batches`` optimiser steps.
    """

    summary = "reinforcement learning from a reward model"
    source = "Schulman et al. 2017, arXiv:1707.06347; Ziegler et al. 2019, arXiv:1909.08593; library: trl"
    gives = frozenset({"model", "reference"})
    fills_sequences = False
    precisions = ("fp32",)  # TRL's old and new log-probabilities are computed in different types at any other

    @dataclass(frozen=True)
    class Params(PairParams):
        learning_rate: float = param(1e-4, "peak learning rate of policy and value model", low=0.0)
        schedule: str = param("constant", "learning-rate schedule", choices=("constant", "linear", "cosine"))
        max_grad_norm: float = param(0.0, "gradients are clipped to this norm; 0 leaves them, as TRL does", low=0.0)
        reward: str | None = param(None, "method that makes the reward model; the chain's own where not given")
        response_length: int = param(32, "longest answer that is generated, tokens", low=2)
        temperature: float = param(0.7, "of sampling", low=0.01)
        kl_coef: float = param(0.05, "weight of the distance from the reference", low=0.0)
        kl_estimator: str = param("k1", "estimator of that distance", choices=("k1", "k3"))
        epochs: int = param(4, "times that an update's answers are used", low=1)
        mini_batches: int = param(1, "parts of a batch, a step each", low=1)
        clip_range: float = param(0.2, "how far the ratio of probabilities may go from 1", low=0.0)
        clip_range_value: float = param(0.2, "how far a value may go from the one before", low=0.0)
        value_weight: float = param(0.1, "weight of the value model's loss", low=0.0)
        gamma: float = param(1.0, "discount per token", low=0.0, high=1.0)
        lam: float = param(0.95, "lambda of the generalised advantage estimate", low=0.0, high=1.0)
        whiten_rewards: bool = param(False, "scale rewards to unit variance")
        missing_eos_penalty: float | None = param(None, "taken off the reward of an answer that does not end", low=0.0)

    def __init__(self, params: Params) -> None:
        super().__init__(params)
        if params.reward is None:
            self.takes = frozenset({*self.takes, "reward"})

    def declines(self, setup: TrainingSetup, hardware: Hardware) -> str | None:
        """TRL's loop has its own batches, and a value model that no modifier reaches."""
        return declined_by_ppo(setup, self.params)

    def holds(self, model: Held) -> Held:
        """Policy and value model learn beside the policy's reference and the reward model: four models.

        The update is predicted, not the writing of answers before it.
        """
        return model.training().with_critic().next_to(model.shape, model.shape, losses=2)

    def train(self, job: Job) -> Checkpoint:
        """Train the policy on the prompts of the pairs."""
        from harness.training.ppo import proximal_policy

        return proximal_policy(job)
