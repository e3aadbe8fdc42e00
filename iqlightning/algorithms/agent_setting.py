"""The agent that an algorithm's settings describe: one of their own, or SoftQ with the parts they name."""

from functools import partial

from iqlightning.agents.agent import AgentFactory
from iqlightning.agents.observation_scale import Scale
from iqlightning.agents.soft_q import SoftQ
from iqlightning.errors import UserError
from iqlightning.losses.values import ValueFunction
from iqlightning.nets.heads import PlainHead
from iqlightning.nets.q_network import EncoderFactory, HeadFactory
from iqlightning.nets.target import TargetUpdate

__all__ = ["agent_factory"]


def agent_factory(
    algorithm: str,
    *,
    encoder: EncoderFactory | None,
    head: HeadFactory | None,
    value: ValueFunction | None,
    target: TargetUpdate | None,
    copies: int,
    scale: Scale,
    agent: AgentFactory | None,
) -> AgentFactory:
    """What builds the agent from an environment's spaces.

    Args:
        algorithm: for sentences.
        encoder: of SoftQ, like the next five: see :class:`~iqlightning.algorithms.learner.Learner`.
        head: of SoftQ.
        value: of SoftQ.
        target: of SoftQ.
        copies: of SoftQ.
        scale: of SoftQ.
        agent: another agent; None for SoftQ.

    Raises:
        UserError: if settings of SoftQ are given beside another agent, or there is neither encoder nor agent.
    """
    if agent is not None:
        of_soft_q = {"encoder": encoder, "head": head, "value": value, "target": target}
        given = [name for name, each in of_soft_q.items() if each is not None]
        given += ["copies"] * (copies != 1) + ["scale"] * (scale != "auto")
        if given:
            raise UserError(
                f"model.{given[0]} is a setting of the agent SoftQ, and model.agent names another: leave out one "
                f"of the two, or set model.agent.{given[0]} if it has such a setting"
            )
        return agent
    if encoder is None:
        raise UserError(
            f"{algorithm} needs an encoder, such as MLP; where actions are continuous it is model.agent that is to be "
            "set, to SoftActorCritic"
        )
    # no lambda: strategies that spawn processes pickle the module
    return partial(
        SoftQ,
        encoder=encoder,
        head=head or PlainHead,
        value=value,
        target=target,
        copies=copies,
        scale=scale,
    )
