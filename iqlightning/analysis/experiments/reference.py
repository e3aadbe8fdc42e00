"""The two ends of every table: what the random policy and an environment's own policies reach on each evaluation."""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from iqlightning.analysis.experiments.trial import Outcome, OutcomeFile
from iqlightning.registration import env_config_from_dict
from iqlightning.types import EnvConfig, Policy

__all__ = ["reference_outcomes"]

Evaluate = Callable[[Policy, EnvConfig, int, int], dict[str, Any]]


def reference_outcomes(
    outcomes: Sequence[Outcome],
    file: OutcomeFile,
    evaluate: Evaluate,
    more: Mapping[str, Mapping[str, Policy]] | None = None,
) -> list[Outcome]:
    """Plays them, and ``more`` by evaluation and label, on what the trials were evaluated on; ``file`` keeps them."""
    from iqlightning.evaluation.reference_policies import RandomPolicy

    asked: dict[str, dict[str, Any]] = {}
    for outcome in outcomes:
        for evaluation, figures in outcome.figures.items():
            if "env" in figures:
                asked.setdefault(evaluation, figures)
    references = []
    for evaluation, figures in asked.items():
        env, episodes, seed = env_config_from_dict(figures["env"]), int(figures["episodes"]), int(figures["seed"])
        policies = {"random policy": RandomPolicy(env.spaces)} | env.references()
        policies |= (more or {}).get(evaluation, {})
        for group, policy in policies.items():
            parts = [group, evaluation, figures["env"], episodes, seed]
            if (info := getattr(policy, "info", None)) is not None:  # of a checkpoint, which may be another one by now
                parts.append(str(info))
            text = json.dumps(parts, sort_keys=True)
            key = hashlib.sha256(text.encode()).hexdigest()[:16]
            known = file.get(key)
            if known is None:
                played = {evaluation: evaluate(policy, env, episodes, seed)}
                known = Outcome(key=key, group=group, seed=0, factors={}, run=None, seconds=0.0, figures=played)
                file.add([known])
            references.append(known)
    return references
