"""How well a policy explains demonstrations that it was not trained on."""

from typing import Any, ClassVar

import torch
from torch import nn
from torchmetrics import MeanMetric

from iqlightning.agents.agent import Agent
from iqlightning.types import Transition

__all__ = ["HeldOutScores"]


class HeldOutScores(nn.Module):
    """``val/log_likelihood``: mean log pi(a | s) of held-out actions; ``val/expert_agreement``: with the best action.

    Means weigh by transitions, over batches and over processes.
    """

    FIGURES: ClassVar = ("val/log_likelihood", "val/expert_agreement")

    def __init__(self) -> None:
        super().__init__()
        # a NaN is a finding, not something to leave out of a mean
        self.log_likelihood = MeanMetric(nan_strategy="disable")
        self.expert_agreement = MeanMetric(nan_strategy="disable")

    def match_precision(self, dtype: torch.dtype) -> None:
        """Makes the means as exact as a network of doubles; torchmetrics take no part in a change of precision."""
        if dtype == torch.float64:
            for metric in (self.log_likelihood, self.expert_agreement):
                metric.set_dtype(torch.float64)

    def update(self, agent: Agent, expert: Transition) -> None:
        """Takes a batch, which may be empty."""
        if len(expert.actions):
            self.log_likelihood.update(agent.log_prob(expert.obs, expert.actions))
            self.expert_agreement.update(agent.agreement(expert.obs, expert.actions))

    def log(self, module: Any, batch_size: int) -> None:
        """Logs both by a LightningModule that they are part of; a process with an empty batch has to call as well."""
        for figure, mean in zip(self.FIGURES, (self.log_likelihood, self.expert_agreement), strict=True):
            module.log(figure, mean, on_epoch=True, batch_size=batch_size)
