"""Gaussian processes: a handful of transitions is enough where the dynamics are smooth."""

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F

from iqlightning.envs.dynamics.model import DynamicsModel
from iqlightning.errors import UserError
from iqlightning.types import Transition

__all__ = ["GaussianProcess"]

_JITTER = 1e-8
# bounds of the logarithms of noise and length scales, in standard deviations of what they are of
_NOISE, _LENGTHS = (-7.0, 1.0), (-2.0, 6.0)


class GaussianProcess(DynamicsModel):
    r"""One Gaussian process for each number of the observation, as in PILCO (Deisenroth and Rasmussen 2011, 2.1).

    With x = [s / std(s), one-hot(a)] and y = (s' - s) / std(s' - s)::

        k(x, x') = f^2 exp(-1/2 sum_i (x_i - x'_i)^2 / l_i^2) + c^2 x^T x'
        mean(x*) = k(x*, X) (K + n^2 I)^-1 y

    (Rasmussen and Williams 2006, eq. 2.25; the linear part is what it falls back on far from the data). The f, l, c and
    n of each process maximise its marginal likelihood (eq. 5.8) with wide normal priors on their logarithms.

    Args:
        steps: of Adam on the marginal likelihood.
        max_transitions: as many are used, spread evenly over those there are; the time grows with their cube.
    """

    def __init__(self, steps: int = 150, max_transitions: int = 300) -> None:
        if steps < 0 or max_transitions < 2:
            raise UserError(
                f"GaussianProcess needs steps of at least 0 and max_transitions of at least 2, not {steps} and "
                f"{max_transitions}"
            )
        self.steps = steps
        self.max_transitions = max_transitions

    def fit(self, transitions: Transition, num_actions: int) -> None:
        """Chooses the kernels' numbers and solves for the weights, in double precision on the CPU."""
        device = transitions.obs.device
        obs, next_obs = transitions.obs.double().cpu(), transitions.next_obs.double().cpu()
        count = min(len(obs), self.max_transitions)
        chosen = torch.linspace(0, len(obs) - 1, count).round().long()
        obs, change, actions = obs[chosen], (next_obs - obs)[chosen], transitions.actions.cpu()[chosen]
        self._num_actions = num_actions
        self._scale, self._change = obs.std(0).clamp_min(1e-6), change.std(0).clamp_min(1e-9)
        self._inputs = self._features(obs, actions)
        targets = (change / self._change).t()[..., None]  # (F, n, 1)
        features, width = len(targets), self._inputs.shape[1]
        lengths = torch.ones(features, width, dtype=torch.float64)
        size, slope = torch.zeros(2, features, dtype=torch.float64)
        noise = torch.full((features,), -3.0, dtype=torch.float64)
        self._numbers = (lengths, size, slope, noise)
        self._maximise(targets)
        covariance = self._covariance()
        factor = torch.linalg.cholesky(covariance)
        weights = torch.cholesky_solve(targets, factor)[..., 0]
        # each prediction from all other transitions, Rasmussen and Williams eq. 5.12
        left_out = weights / torch.cholesky_inverse(factor).diagonal(dim1=1, dim2=2)
        self._explained = 1 - left_out.square().mean(1) / targets[..., 0].var(1)
        self._weights = weights.to(device)
        self._inputs, self._scale, self._change = (
            each.to(device) for each in (self._inputs, self._scale, self._change)
        )
        self._numbers = tuple(each.to(device) for each in self._numbers)

    def __call__(
        self, observations: Float[Tensor, "batch features"], actions: Int[Tensor, " batch"]
    ) -> Float[Tensor, "batch features"]:
        """The means, in the precision of the observations."""
        x = self._features(observations.double(), actions)
        means = torch.einsum("fbn,fn->bf", self._kernel(x, self._inputs), self._weights)
        return (observations + means * self._change).to(observations.dtype)

    @property
    def explained(self) -> Float[Tensor, " features"]:
        """By leaving each transition out in turn."""
        return self._explained

    def _features(self, observations: Tensor, actions: Tensor) -> Tensor:
        chosen = F.one_hot(actions, self._num_actions).to(observations.dtype)
        return torch.cat([observations / self._scale, chosen], dim=1)

    def _maximise(self, targets: Tensor) -> None:
        lengths, size, slope, noise = (each.requires_grad_() for each in self._numbers)
        optimizer = torch.optim.Adam(self._numbers, lr=0.1)
        with torch.enable_grad():
            for _ in range(self.steps):
                factor = torch.linalg.cholesky(self._covariance())
                fit = (targets * torch.cholesky_solve(targets, factor)).sum() / 2
                volume = factor.diagonal(dim1=1, dim2=2).log().sum()
                prior = (lengths - 1).square().sum() / 8 + size.square().sum() / 8
                prior = prior + slope.square().sum() / 18 + (noise + 3).square().sum() / 18
                optimizer.zero_grad()
                (fit + volume + prior).backward()
                optimizer.step()
                with torch.no_grad():
                    noise.clamp_(*_NOISE)
                    lengths.clamp_(*_LENGTHS)
        self._numbers = tuple(each.detach() for each in self._numbers)

    def _covariance(self) -> Tensor:
        noise = torch.exp(2 * self._numbers[3]) + _JITTER
        return self._kernel(self._inputs, self._inputs) + torch.diag_embed(noise[:, None].expand(-1, len(self._inputs)))

    def _kernel(self, x: Tensor, y: Tensor) -> Tensor:
        """(B, W) and (n, W) to (F, B, n)."""
        lengths, size, slope, _ = self._numbers
        a, b = (each * torch.exp(-lengths)[:, None] for each in (x, y))
        distance = a.square().sum(2)[:, :, None] + b.square().sum(2)[:, None] - 2 * a @ b.transpose(1, 2)
        near = torch.exp(2 * size)[:, None, None] * torch.exp(-distance.clamp_min(0) / 2)
        return near + torch.exp(2 * slope)[:, None, None] * (x @ y.t())
