"""One gradient update as one compiled function: loss, gradient, clipping and, for Adam, the optimizer's step.

The objective is traced as it is, on tensors without data, into a graph from weights and batch to gradient and scalars;
the graph is compiled for the shapes of a batch. Whatever Python computes from anything but tensors is constant in it.
"""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.fx.experimental.proxy_tensor import make_fx

from iqlightning.algorithms.eager_update import EagerUpdate, Updated
from iqlightning.algorithms.flat_adam import FlatAdam
from iqlightning.types import Batch, Transition

__all__ = ["CompiledUpdate"]


class _Traced(nn.Module):
    """Gives the objective's networks to ``functional_call``, which puts other tensors in the place of their weights."""

    def __init__(self, networks: Mapping[str, nn.Module], objective: Callable[[Any], Any]) -> None:
        super().__init__()
        self.networks = nn.ModuleDict(dict(networks))
        self.objective = objective

    def forward(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """Loss and terms."""
        found = self.objective(batch)
        return found.loss, found.terms


class CompiledUpdate:
    """The same update as :class:`~iqlightning.algorithms.eager_update.EagerUpdate`, up to rounding.

    Adam and AdamW are part of the graph, any other optimizer steps by itself. The optimizer's state is what it would be
    without compilation, so that a run can be continued either way. Where compiling fails, for want of a compiler or
    because a network's operations depend on the values of a batch, it says so once and updates eagerly.

    Args:
        eager: the update to compile, on flat weights.
        networks: by name, those that the objective uses; what ``eager.flat`` holds of them is trained.
        say: called with one sentence if compiling fails.
    """

    def __init__(self, eager: EagerUpdate, networks: Mapping[str, nn.Module], say: Callable[[str], Any]) -> None:
        assert eager.flat is not None
        self.eager, self.flat, self.say = eager, eager.flat, say
        self.objective, self.backward, self.step = eager.objective, eager.backward, eager.step
        self._module = _Traced(networks, self.objective)
        stepped = {id(each): place for place, each in enumerate(self.flat.parameters)}
        by_place = {stepped[id(each)]: name for name, each in self._module.named_parameters() if id(each) in stepped}
        self._names = [by_place[place] for place in range(len(stepped))]
        trained = set(self._names)
        others = [*self._module.named_parameters(), *self._module.named_buffers()]
        self._other_names = [name for name, _ in others if name not in trained]
        self._others = [each.detach() for name, each in others if name not in trained]
        self._adam = FlatAdam(eager.optimizer, self.flat) if FlatAdam.fits(eager.optimizer) else None
        device, dtype = self.flat.vector.device, self.flat.vector.dtype
        self._numbers = torch.zeros(3, device=device, dtype=dtype)
        # three numbers are written in a hundredth of the time that it takes to make a tensor of them and copy it
        self._numbers_here = self._numbers.numpy() if device.type == "cpu" else None
        self._compiled: dict[Any, Callable[..., Any]] = {}
        self._scalar_names: list[str] = []
        self._failed = False

    def begin(self) -> None:
        """Called before the first of several updates in a row."""
        self.eager.begin()
        if self._adam is not None:
            self._adam.begin()

    def __call__(self, batch: Batch, diagnose: bool) -> Updated:
        """Updates the weights; ``diagnose`` says whether diagnostics are going to be asked for."""
        if self._failed:
            return self.eager(batch, diagnose)
        found: dict[str, Tensor] = {}
        if diagnose:
            # weights are about to change; diagnostics may read what is no tensor and so are not in the graph
            with torch.no_grad():
                found = self.objective(batch).diagnostics()
        leaves: list[Tensor | None] = []
        for part in batch.values():
            if isinstance(part, Tensor):
                leaves.append(part)
            else:
                leaves.extend(part)  # type: ignore[arg-type]
        tensors = [leaf for leaf in leaves if leaf is not None]
        key = (*batch, *(None if leaf is None else (leaf.shape, leaf.stride(), leaf.dtype) for leaf in leaves))
        compiled = self._compiled.get(key)
        first, steps = compiled is None, 0 if self._adam is None else self._adam.steps
        try:
            if compiled is None:
                compiled = self._compile(batch, tensors)
            inputs = [self.flat.vector.detach(), *self._state(), *self._others, *tensors]
            with torch.no_grad():
                (scalars,) = compiled(*inputs)
        except Exception as error:
            if not first:
                raise
            if self._adam is not None:
                self._adam.back_to(steps)
            return self._give_up(error, batch, diagnose)
        self._compiled[key] = compiled
        if self._adam is None:
            self.step()
        return Updated(self._scalar_names, scalars, lambda: found)

    def _give_up(self, error: Exception, batch: Batch, diagnose: bool) -> Updated:
        self._failed = True
        if "C++ compiler" in str(error) or "CppCompile" in type(error).__name__:
            why = "there is no working C++ compiler (g++ or clang++)"
        else:
            why = f"this network and loss cannot be compiled ({type(error).__name__})"
        self.say(f"compile has no effect: {why}; updates are made operation by operation")
        self.begin()
        return self.eager(batch, diagnose)

    def _state(self) -> list[Tensor]:
        """What the graph reads and changes beside the weights: moments and the step's numbers, or the gradient."""
        if self._adam is None:
            return [self.flat.gradient]
        numbers, mean, square = self._adam.count()
        if self._numbers_here is None:
            self._numbers.copy_(torch.tensor(numbers))
        else:
            self._numbers_here[:] = numbers
        return [mean, square, self._numbers]

    def _compile(self, batch: Batch, tensors: list[Tensor]) -> Callable[..., Any]:
        moments = [
            torch.empty_like(self.flat.gradient) for _ in range(2)
        ]  # two tensors, or the trace takes them for one
        state = [self.flat.gradient] if self._adam is None else [*moments, self._numbers]
        inputs = [self.flat.vector.detach(), *state, *self._others, *tensors]
        ends = 1 + len(state), 1 + len(state) + len(self._others)

        def update(*given: Tensor) -> tuple[Tensor]:
            vector, *state = given[: ends[0]]
            with torch.enable_grad():
                weights = vector.detach().requires_grad_()
                named = dict(zip(self._names, self.flat.windows(weights), strict=True))
                named |= dict(zip(self._other_names, given[ends[0] : ends[1]], strict=True))
                tensors = _like(batch, list(given[ends[1] :]))
                loss, terms = torch.func.functional_call(self._module, named, (tensors,))
                (gradient,) = torch.autograd.grad(loss, weights)
            self._scalar_names = ["loss", *terms, "grad_norm"]
            norm = torch.linalg.vector_norm(gradient)
            if self.eager.max_grad_norm is not None:
                gradient = gradient * (self.eager.max_grad_norm / (norm + 1e-6)).clamp(max=1.0)
            if self._adam is None:
                state[0].copy_(gradient)
            else:
                self._adam.apply(vector, gradient, *state)
            return (torch.stack([loss.detach(), *(term.detach() for term in terms.values()), norm]),)

        graph = make_fx(update, tracing_mode="fake")(*inputs)
        # Dynamo has nothing to do with a graph; to be called through it would cost a tenth of an update's time.
        import torch._inductor as inductor  # takes a second, and most runs do not compile

        compiled: Any = inductor.compile(graph, inputs)
        return compiled


def _like(batch: Batch, tensors: list[Tensor]) -> Batch:
    """A batch of other tensors."""
    rest = iter(tensors)
    parts: dict[str, Any] = {}
    for name, part in batch.items():
        if isinstance(part, Tensor):
            parts[name] = next(rest)
        else:
            assert isinstance(part, Transition)
            fields: list[Any] = [None if leaf is None else next(rest) for leaf in part]
            parts[name] = Transition(*fields)
    return Batch(**parts)
