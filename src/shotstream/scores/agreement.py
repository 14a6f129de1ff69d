"""Measure how far several answers to the same questions agree."""

import math
from collections import Counter
from collections.abc import Hashable, Sequence


def agreement(stories: Sequence[Sequence[Hashable]]) -> float:
    """Return the share of pairs of answers to the same story that are equal; NaN without a pair."""
    pairs = sum(len(answers) * (len(answers) - 1) for answers in stories)
    same = sum(count * (count - 1) for answers in stories for count in Counter(answers).values())
    return same / pairs if pairs else math.nan


def krippendorff_alpha(stories: Sequence[Sequence[Hashable]]) -> float:
    """Return Krippendorff's alpha for nominal answers; NaN without a pair or where all answers are one.

    Source: Krippendorff, Content Analysis, chapter on reliability (coincidence matrix; stories with one answer drop).
    """
    paired = [answers for answers in stories if len(answers) > 1]
    totals = Counter(answer for answers in paired for answer in answers)
    count = sum(totals.values())
    expected = count * count - sum(number**2 for number in totals.values())
    if not expected:
        return math.nan
    observed = sum(
        (len(answers) ** 2 - sum(number**2 for number in Counter(answers).values())) / (len(answers) - 1)
        for answers in paired
    )
    return 1 - (count - 1) * observed / expected
