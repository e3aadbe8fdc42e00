"""One gradient step of which loss, gradient, clipping and, with Adam, the step itself are one compiled function.

The objective is traced as it is, on tensors without data, into a graph from weights and batch to new weights and
scalars; the graph is compiled for the shapes of a batch. Whatever Python computes from anything but tensors is constant
in it.
"""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.fx import GraphModule
from torch.fx.experimental.proxy_tensor import make_fx

from iqlightning.agents.agent import Objective
from iqlightning.algorithms.updates.eager import EagerUpdate, Updated, has_hooks
from iqlightning.algorithms.updates.traced_adam import TracedAdam
from iqlightning.types import Batch, Transition

__all__ = ["CompiledUpdate"]


class _Traced(nn.Module):
    """Gives the objective's networks to ``functional_call``, which puts other tensors in the place of their weights."""

    def __init__(self, networks: Mapping[str, nn.Module], objective: Callable[[Any], Objective]) -> None:
        super().__init__()
        self.networks = nn.ModuleDict(dict(networks))
        self.objective = objective

    def forward(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """Loss and terms."""
        objective = self.objective(batch)
        return objective.loss, objective.terms


class CompiledUpdate:
    """The same update as :class:`~iqlightning.algorithms.updates.eager.EagerUpdate`, up to rounding.

    Other optimizers than Adam step by themselves, with the gradient that the graph leaves them. Where compiling fails,
    for want of a compiler or because a network's operations depend on the values of a batch, it says so once and
    updates eagerly.

    Args:
        eager: the update to compile, on flat weights.
        networks: by name, all those that the objective uses.
        say: called with one sentence if compiling fails.
    """

    def __init__(self, eager: EagerUpdate, networks: Mapping[str, nn.Module], say: Callable[[str], Any]) -> None:
        assert eager.flat is not None
        self.eager, self.flat, self.say = eager, eager.flat, say
        self._module = _Traced(networks, eager.objective)
        # the same parameter may go by another name in the module that is stepped
        names = {id(each): name for name, each in self._module.named_parameters()}
        self._names = [names[id(each)] for each in self.flat.parameters]
        trained = set(self._names)
        others = [*self._module.named_parameters(), *self._module.named_buffers()]
        self._other_names = [name for name, _ in others if name not in trained]
        self._others = [each.detach() for name, each in others if name not in trained]
        # hooks are called by the optimizer's own step only
        traced = TracedAdam.supports(eager.optimizer) and not has_hooks(eager.optimizer)
        self._adam = TracedAdam(eager.optimizer) if traced else None
        self._compiled: dict[Any, Callable[..., Any]] = {}
        self._scalar_names: list[str] = []
        self._failed = False

    def begin(self) -> None:
        """Called before the first of several updates in a row."""
        self.eager.begin()

    def __call__(self, batch: Batch, diagnose: bool) -> Updated:
        """Updates the weights; ``diagnose`` says whether diagnostics are going to be asked for."""
        state = [] if self._adam is None else self._adam.state
        if self._failed or (self._adam is not None and not state):
            return self.eager(batch, diagnose)
        diagnostics: dict[str, Tensor] = {}
        if diagnose:
            # weights are about to change; diagnostics may read what is no tensor and so are not in the graph
            with torch.no_grad():
                diagnostics = self.eager.objective(batch).diagnostics()
        leaves: list[Tensor | None] = []
        for part in batch.values():
            if isinstance(part, Tensor):
                leaves.append(part)
            else:
                leaves.extend(part)  # type: ignore[arg-type]
        tensors = [leaf for leaf in leaves if leaf is not None]
        key = (*batch, *(None if leaf is None else (leaf.shape, leaf.stride(), leaf.dtype) for leaf in leaves))
        compiled = self._compiled.get(key)
        first = compiled is None
        try:
            if compiled is None:
                compiled = self._compile(batch, tensors, state)
            with torch.no_grad():
                scalars, *_ = compiled(*self._inputs(state, tensors))
        except Exception as error:
            if not first:
                raise
            return self._give_up(error, batch, diagnose)
        self._compiled[key] = compiled
        if self._adam is None:
            self.eager.optimizer.step()
        return Updated(self._scalar_names, scalars, lambda: diagnostics)

    def _give_up(self, error: Exception, batch: Batch, diagnose: bool) -> Updated:
        self._failed = True
        if "C++ compiler" in str(error) or "CppCompile" in type(error).__name__:
            why = "there is no working C++ compiler (g++ or clang++)"
        else:
            why = f"this network and loss cannot be compiled ({type(error).__name__})"
        self.say(f"compile has no effect: {why}; updates are made operation by operation")
        self.begin()
        return self.eager(batch, diagnose)

    def _inputs(self, state: list[Tensor], tensors: list[Tensor]) -> list[Tensor]:
        return [self.flat.vector.detach(), self.flat.gradient, *state, *self._others, *tensors]

    def _compile(self, batch: Batch, tensors: list[Tensor], state: list[Tensor]) -> Callable[..., Any]:
        inputs: list[Any] = self._inputs(state, tensors)
        own, others = len(state), len(state) + len(self._others)

        def update(vector: Tensor, gradient_out: Tensor, *given: Tensor) -> tuple[Tensor]:
            with torch.enable_grad():
                weights = vector.detach().requires_grad_()
                named = dict(zip(self._names, self.flat.windows(weights), strict=True))
                named |= dict(zip(self._other_names, given[own:others], strict=True))
                traced = _like(batch, list(given[others:]))
                loss, terms = torch.func.functional_call(self._module, named, (traced,))
                (gradient,) = torch.autograd.grad(loss, weights)
            self._scalar_names = ["loss", *terms, "grad_norm"]
            norm = torch.linalg.vector_norm(gradient)
            if self.eager.max_grad_norm is not None:
                gradient = gradient * (self.eager.max_grad_norm / (norm + 1e-6)).clamp(max=1.0)
            if self._adam is None:
                gradient_out.copy_(gradient)
            else:
                self._adam.step(vector, gradient, list(given[:own]))
            return (torch.stack([loss.detach(), *(term.detach() for term in terms.values()), norm]),)

        graph = make_fx(update, tracing_mode="fake")(*inputs)
        _return_scalars(graph)
        # Dynamo has nothing to do with a graph; to be called through it would cost a tenth of an update's time.
        import torch._inductor as inductor  # takes a second, and most runs do not compile

        compiled: Any = inductor.compile(graph, inputs)
        return compiled


def _return_scalars(graph: GraphModule) -> None:
    """Returns the scalars that vectors are computed with, too.

    The compiler works out what it returns once, and other scalars (Adam's powers of beta) anew for every few elements.
    """

    def is_scalar(node: Any) -> bool:
        return isinstance(node.meta.get("val"), Tensor) and node.meta["val"].ndim == 0

    (output,) = graph.graph.find_nodes(op="output")
    computed = [node for node in graph.graph.nodes if node.op == "call_function" and is_scalar(node)]
    used = [node for node in computed if not all(is_scalar(user) for user in node.users if user is not output)]
    output.args = ((*output.args[0], *used),)
    graph.recompile()


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
