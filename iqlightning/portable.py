"""A policy as a program that needs none of this package: ``torch.export`` and ONNX, and the proof that it is the same.

The program maps observations to what :meth:`~iqlightning.agents.agent.Agent.answers` says: ``q_values`` (B, A),
``values`` (B,) and ``actions`` (B,), the greedy ones; of an actor its ``actions`` (B, *shape) without noise and their
``q`` (B,). An actor's V is a mean over draws, and a program draws nothing.
"""

import io
import json
import logging
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass, replace
from importlib import import_module
from importlib.util import find_spec
from typing import Any, TypeGuard

import jaxtyping
import numpy as np
import torch
from gymnasium.spaces import Box, Discrete, Space
from safetensors.torch import save
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from iqlightning.agents.agent import Agent
from iqlightning.agents.soft_q import SoftQ
from iqlightning.errors import UserError
from iqlightning.keyed import Stream
from iqlightning.policies import AgentPolicy
from iqlightning.rollout import closing
from iqlightning.spaces import observation_dtype, random_actions
from iqlightning.types import EnvConfig

__all__ = [
    "Agreement",
    "Portable",
    "compare",
    "likely_observations",
    "probe_observations",
    "reloaded",
    "require_onnx",
    "trace",
    "weights_file",
]

_ONNX_PACKAGES = ("onnx", "onnxscript", "onnxruntime")

# a program computes the same sums in another order; more than this, relative to the largest |Q|, is another function
_TOLERANCE = 1e-4

_TOGETHER = 16  # environments that are played for observations to compare on

# compared besides the trained size where sizes may vary
_OTHER_SIZES = ((5, 5), (12, 7), (20, 20))


class _Program(nn.Module):
    """The whole policy as one module of tensors."""

    def __init__(self, agent: Agent) -> None:
        super().__init__()
        self.agent = agent

    def forward(self, observations: Tensor) -> tuple[Tensor, ...]:
        return tuple(self.agent.answers(observations).values())


@dataclass(frozen=True)
class Portable:
    """A traced policy.

    Attributes:
        program: takes ``observations`` and returns ``outputs``.
        outputs: their names.
        dynamic: names of the dimensions of the observations that may vary: ``batch``, perhaps ``height`` and ``width``.
        shape: of the observations, with the names of the dimensions that vary.
        dtype: of the observations.
        sides: smallest and largest ``height`` and ``width`` where they may vary, otherwise None.
    """

    program: ExportedProgram
    outputs: tuple[str, ...]
    dynamic: tuple[str, ...]
    shape: tuple[str | int, ...]
    dtype: torch.dtype
    sides: tuple[int, int] | None = None

    def torch_bytes(self) -> bytes:
        """The file that ``torch.export.load`` reads."""
        buffer = io.BytesIO()
        with _silenced():
            torch.export.save(self.program, buffer)
        return buffer.getvalue()

    def onnx_bytes(self) -> bytes:
        """The ONNX file.

        Raises:
            UserError: if the packages it needs are not installed.
        """
        require_onnx()
        with _silenced():
            converted: Any = torch.onnx.export(
                self.program, input_names=["observations"], output_names=list(self.outputs), dynamo=True, verbose=False
            )
        onnx_ir = import_module("onnx_ir")  # comes with onnxscript, an extra

        graph = converted.model.graph
        graph.inputs[0].shape = onnx_ir.Shape(self.shape)
        for output in graph.outputs:
            output.shape = onnx_ir.Shape(["batch", *list(output.shape)[1:]])
        return converted.model_proto.SerializeToString()


@dataclass(frozen=True)
class Agreement:
    """How far a file's answers are from the policy's.

    Attributes:
        observations: number compared.
        difference: largest |Q - Q'|, of all actions or of those that each side took for the best.
        scale: largest |Q|.
        same_actions: share of equal best actions; near-ties of discrete ones (closer than the tolerance) count as
            equal, and continuous ones that differ by no more than the tolerance in units of their range.
    """

    observations: int
    difference: float
    scale: float
    same_actions: float

    @property
    def holds(self) -> bool:
        """Whether it is the same function up to rounding."""
        return self.difference <= _TOLERANCE * max(1.0, self.scale) and self.same_actions == 1.0


def require_onnx() -> None:
    """Complains if a package that ONNX needs is not installed.

    Raises:
        UserError: with what to install.
    """
    missing = [name for name in _ONNX_PACKAGES if find_spec(name) is None]
    if missing:
        raise UserError(
            f"ONNX needs {', '.join(missing)}, which {'is' if len(missing) == 1 else 'are'} not installed: pip install "
            "'iqlightning[export]', or leave ONNX out with --format torch"
        )


def trace(policy: AgentPolicy, example: Tensor | None = None) -> Portable:
    """Traces the policy with as many varying dimensions as its encoder allows.

    Args:
        policy: to be traced.
        example: (B, *shape) observations, B of at least 2, to trace it on; None plays for some.

    Raises:
        UserError: if the encoder cannot be traced at all.
    """
    agent = policy.agent
    env = _env_of(policy) if example is None else policy.env
    if example is None:
        assert env is not None
        example = probe_observations(env, 4)
    module = _Program(agent).eval()
    with torch.no_grad():
        outputs = tuple(agent.answers(example))
    sides = None if agent.encoder is None else agent.encoder.sides
    varying = sides if env is not None and env.resized(*_OTHER_SIZES[0]) is not None else None
    for sides in (varying, None) if varying is not None else (None,):
        free = {2: "height", 3: "width"} if sides else {}
        sizes = {axis: Dim(name, min=sides[0], max=sides[1]) for axis, name in free.items()} if sides else {}
        dims = {"observations": {0: Dim("batch")} | sizes}
        try:
            with _silenced(), _unchecked(), torch.no_grad():
                program = torch.export.export(module, (example,), dynamic_shapes=dims, strict=False)
        except Exception as error:
            # an encoder may depend on sizes or values in ways that cannot be traced; torch.export says so in many ways
            if sides:
                continue
            raise UserError(
                f"the encoder {type(agent.encoder).__name__} cannot be exported: {str(error).strip().splitlines()[0]}"
            ) from error
        names = {0: "batch"} | free
        shape = tuple(names.get(axis, size) for axis, size in enumerate(example.shape))
        return Portable(program, outputs, tuple(names.values()), shape, example.dtype, sides)
    raise AssertionError("the last attempt either returns or raises")


def probe_observations(env: EnvConfig, count: int) -> Tensor:
    """(count, *shape) observations to compare on: what random actions come to see in unseen episodes."""
    envs = min(_TOGETHER, count)
    with closing(env.make_batch(envs, seed=0, split="test")) as batch:
        seen = [batch.reset().clone()]
        for step in range(1, -(-count // envs)):
            actions = random_actions(env.spaces.action, Stream.PROBE, 0, step, torch.arange(envs))
            seen.append(batch.step(actions).obs.clone())
    return torch.cat(seen)[:count]


def likely_observations(space: Space, count: int) -> Tensor:
    """(count, *shape) observations drawn from their space, where there is no environment to see any in."""
    space.seed(0)
    return torch.from_numpy(np.stack([space.sample() for _ in range(count)])).to(observation_dtype(space))


def compare(policy: AgentPolicy, portable: Portable, count: int, onnx: bytes | None = None) -> Agreement:
    """Asks the policy and a file the same questions.

    Args:
        policy: the original.
        portable: the traced one; its program as it comes out of a file again.
        count: observations of the trained size; where sizes may vary, a quarter as many, at least 50, of each of
            three other sizes come on top.
        onnx: the ONNX file, to be compared instead of the program.
    """
    if onnx is None:
        module = portable.program.module()
        answer: Callable[[Tensor], Sequence[Any]] = module
    else:
        answer = _onnx_session(onnx)
    env = _env_of(policy)
    probes = [probe_observations(env, count)]
    if portable.sides is not None:
        sizes = [size for size in _OTHER_SIZES if min(size) >= portable.sides[0]]
        others = [other for size in sizes if (other := env.resized(*size)) is not None]
        probes += [probe_observations(other, max(50, count // 4)) for other in others]
    difference, scale, same, total = 0.0, 0.0, 0, 0
    for probe in probes:
        for part in probe.split(250):
            with torch.no_grad():
                ours = policy.agent.answers(part)
                theirs = dict(zip(portable.outputs, map(torch.as_tensor, answer(part)), strict=True))
            name = "q_values" if "q_values" in ours else "q"
            difference = max(difference, float((ours[name] - theirs[name]).abs().max()))
            scale = max(scale, float(ours[name].abs().max()))
            same += int(_same_actions(env.spaces.action, ours, theirs, _TOLERANCE * max(1.0, scale)).sum())
            total += len(part)
    return Agreement(total, difference, scale, same / total)


def _same_actions(space: Space, ours: dict[str, Tensor], theirs: dict[str, Tensor], near: float) -> Tensor:
    """(B,) bool; ``near`` is how much Q may differ."""
    if isinstance(space, Discrete):
        q = ours["q_values"]
        return q.amax(1) - q.gather(1, theirs["actions"][:, None])[:, 0] <= near
    assert isinstance(space, Box)
    width = torch.as_tensor(space.high - space.low)
    return ((ours["actions"] - theirs["actions"]).abs() <= _TOLERANCE * width).flatten(1).all(1)


def reloaded(portable: Portable, content: bytes) -> Portable:
    """The same, with the program as it comes out of its file."""
    with _silenced():
        return replace(portable, program=torch.export.load(io.BytesIO(content)))


def is_network_alone(agent: Agent) -> TypeGuard[SoftQ]:
    """Whether Q is what a network says of arrays as the environment gives them."""
    return isinstance(agent, SoftQ) and agent.scale is None and agent.spaces.codec is None


def weights_file(policy: AgentPolicy) -> bytes:
    """The weights as safetensors; the header says how to build the network, or an actor's agent, again."""
    agent = policy.agent
    if is_network_alone(agent):
        module, recipe = agent.network, {"network": agent.network.recipe, "value": agent.value.to_dict()}
    else:
        module, recipe = agent, {"agent": agent.recipe}
    header = recipe | {"gamma": policy.gamma, "env": _env_of(policy).to_dict()}
    weights = {name: tensor.detach().cpu().contiguous() for name, tensor in module.state_dict().items()}
    return save(weights, metadata={name: json.dumps(each) for name, each in header.items()})


def _onnx_session(content: bytes) -> Callable[[Tensor], Sequence[Any]]:
    onnxruntime = import_module("onnxruntime")  # heavy, and an extra

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = torch.get_num_threads()
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    return lambda part: session.run(None, {"observations": part.numpy()})


def _env_of(policy: AgentPolicy) -> EnvConfig:
    if policy.env is None:
        raise UserError("the policy does not say which environment it is for, so there is nothing to export it with")
    return policy.env


@contextmanager
def _unchecked() -> Iterator[None]:
    """Suspends shape checks, if there are any: comparing a symbolic size with a number would fix it."""
    before = jaxtyping.config.jaxtyping_disable
    jaxtyping.config.update("jaxtyping_disable", True)
    try:
        yield
    finally:
        jaxtyping.config.update("jaxtyping_disable", before)


@contextmanager
def _silenced() -> Iterator[None]:
    """Keeps the exporters' own chatter off the screen: what matters is checked afterwards."""
    loggers = [
        logging.getLogger(name) for name in ("torch.onnx", "torch.export", "torch._export", "torch.fx", "onnxscript")
    ]
    levels = [logger.level for logger in loggers]
    with warnings.catch_warnings(), redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        for logger in loggers:
            logger.setLevel(logging.CRITICAL)
        try:
            yield
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)
