"""How good answers are, over the first ten of each.

A result is right if it has a line in common with a right place, and a further result in the same place is no gain.
NDCG has a gain of one for each result that finds a place not found before; ideally, the first results find one each.
"""

from collections.abc import Sequence
from math import log2
from typing import Final, NamedTuple

import numpy as np

from benchmarks.quality.sets import Place

DEPTH: Final = 10
RESAMPLES: Final = 2_000


class Score(NamedTuple):
    """How good one answer is."""

    reciprocal_rank: float
    recall: float
    ndcg: float


class Summary(NamedTuple):
    """Means over the queries, and the interval that holds the mean reciprocal rank with 95 % probability."""

    mrr: float
    low: float
    high: float
    recall: float
    ndcg: float
    queries: int


def score(found: Sequence[Place], right: Sequence[Place]) -> Score:
    """Compare an answer with the places that are right."""
    gains = _gains(found[:DEPTH], right)
    first = next((rank for rank, gain in enumerate(gains, 1) if gain), None)
    ideal = _discounted([1] * min(len(right), DEPTH))
    return Score(1 / first if first else 0.0, sum(gains) / len(right), _discounted(map(bool, gains)) / ideal)


def _gains(found: Sequence[Place], right: Sequence[Place]) -> list[int]:
    """How many places each result finds that were not found before."""
    left, gains = list(right), list[int]()
    for result in found:
        missed = [place for place in left if not result.overlaps(place)]
        gains.append(len(left) - len(missed))
        left = missed
    return gains


def _discounted(gains: "Sequence[int] | map[bool]") -> float:
    return sum(gain / log2(rank + 1) for rank, gain in enumerate(gains, 1))


def summary(scores: Sequence[Score], seed: int) -> Summary:
    """Of all queries of a system."""
    ranks = np.array([one.reciprocal_rank for one in scores])
    chosen = np.random.default_rng(seed).integers(len(ranks), size=(RESAMPLES, len(ranks)))
    low, high = np.percentile(ranks[chosen].mean(axis=1), [2.5, 97.5])
    means = np.array(scores).mean(axis=0)
    return Summary(float(means[0]), float(low), float(high), float(means[1]), float(means[2]), len(scores))
