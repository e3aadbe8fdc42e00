"""Divergences between expert and policy, one family a file; see :mod:`iqlightning.losses.divergences.divergence`."""

from iqlightning.losses.divergences.chi2 import Chi2, Chi2Mixture
from iqlightning.losses.divergences.divergence import Divergence, PointwiseDivergence
from iqlightning.losses.divergences.hellinger import Hellinger
from iqlightning.losses.divergences.identity import Identity
from iqlightning.losses.divergences.jensen_shannon import JensenShannon
from iqlightning.losses.divergences.kullback_leibler import ForwardKL, ReverseKL, ReverseKLDual, ReverseKLFixed
from iqlightning.losses.divergences.total_variation import TotalVariation
from iqlightning.losses.divergences.wasserstein import Penalized, Wasserstein1

__all__ = [
    "Chi2",
    "Chi2Mixture",
    "Divergence",
    "ForwardKL",
    "Hellinger",
    "Identity",
    "JensenShannon",
    "Penalized",
    "PointwiseDivergence",
    "ReverseKL",
    "ReverseKLDual",
    "ReverseKLFixed",
    "TotalVariation",
    "Wasserstein1",
]
