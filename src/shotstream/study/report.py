"""Report a study: preference rates with intervals, agreement of raters, a table as the paper's Table 2."""

import math
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from shotstream.core.errors import InputError
from shotstream.scores.agreement import agreement, krippendorff_alpha
from shotstream.scores.intervals import FEW_STORIES, Estimate, Share, bootstrap_share
from shotstream.study.files import Question, Study
from shotstream.study.votes import Vote


@dataclass(frozen=True)
class QuestionResult:
    """The answers to one question.

    `rates` has each system's share of all votes, `no_difference` that of the others. `agreement` is the share of pairs
    of raters who gave the same answer for the same story, `alpha` Krippendorff's alpha (1 all agree, 0 chance); both
    are NaN where no story has two raters.
    """

    question: Question
    votes: int
    rates: dict[str, Estimate]
    no_difference: Estimate
    agreement: float
    alpha: float


@dataclass(frozen=True)
class StudyReport:
    """The results of a study. `complete` counts raters who answered everything."""

    study: Study
    raters: int
    complete: int
    questions: tuple[QuestionResult, ...]

    @property
    def intervals_over(self) -> str:
        """Return the unit that intervals are taken over."""
        if len(self.study.stories) < FEW_STORIES:
            return f"votes, taken as independent, because there are fewer than {FEW_STORIES} stories"
        return "stories (bootstrap)"


def make_report(study: Study, votes: Sequence[Vote]) -> StudyReport:
    """Count votes.

    Raises:
        InputError: there are none yet.
    """
    if not votes:
        raise InputError("expected votes, got none yet; run 'shotstream study serve' and send raters the address")
    answers = Counter(vote.rater for vote in votes)
    complete = sum(count == len(study.stories) * len(study.questions) for count in answers.values())
    results = tuple(_result(study, question, votes) for question in study.questions)
    return StudyReport(study, len(answers), complete, results)


def _result(study: Study, question: Question, votes: Sequence[Vote]) -> QuestionResult:
    by_story: dict[str, list[str | None]] = defaultdict(list)
    for vote in votes:
        if vote.question == question.key:
            by_story[vote.story].append(vote.choice)
    units = list(by_story.values())
    rates = {system: _rate(units, system) for system in study.systems}
    total = sum(map(len, units))
    return QuestionResult(question, total, rates, _rate(units, None), agreement(units), krippendorff_alpha(units))


def _rate(stories: Sequence[Sequence[str | None]], choice: str | None) -> Estimate:
    shares = [Share(list(answers).count(choice), len(answers)) for answers in stories]
    return bootstrap_share(shares) if len(shares) >= FEW_STORIES else sum(shares, Share(0, 0)).estimate


def report_data(report: StudyReport) -> dict[str, object]:
    """Return a report as plain data for JSON; NaN becomes null."""

    def plain(one: Estimate) -> dict[str, float | None]:
        return {"rate": one.value, "low": one.low, "high": one.high}

    questions = {
        one.question.key: {
            "votes": one.votes,
            "rates": {system: plain(rate) for system, rate in one.rates.items()},
            "no_difference": plain(one.no_difference),
            "agreement": None if math.isnan(one.agreement) else one.agreement,
            "krippendorff_alpha": None if math.isnan(one.alpha) else one.alpha,
        }
        for one in report.questions
        if one.votes
    }
    return {
        "systems": report.study.systems,
        "stories": len(report.study.stories),
        "left_out": {one.name: one.reason for one in report.study.left_out},
        "raters": report.raters,
        "complete_raters": report.complete,
        "intervals_over": report.intervals_over,
        "questions": questions,
    }


def to_markdown(report: StudyReport) -> str:
    """Return the report as Markdown: a system a row, a question a column, preference rates with 95% intervals."""
    titles = [one.question.title for one in report.questions]
    rows = [f"| | {' | '.join(titles)} |", "|---" * (len(titles) + 1) + "|"]
    for system in report.study.systems:
        rows.append(f"| {system} | {' | '.join(str(one.rates[system]) for one in report.questions)} |")
    rows.append(f"| no difference | {' | '.join(str(one.no_difference) for one in report.questions)} |")
    rows.append(f"| raters agree | {' | '.join(_number(one.agreement, '.1%') for one in report.questions)} |")
    rows.append(f"| Krippendorff's alpha | {' | '.join(_number(one.alpha, '.2f') for one in report.questions)} |")
    raters = f"{report.raters} {'rater' if report.raters == 1 else 'raters'} ({report.complete} to the end)"
    told = f"{raters}, {len(report.study.stories)} stories"
    counts = ", ".join(f"{one.votes} votes on {one.question.title.lower()}" for one in report.questions)
    rows += ["", f"{told}; {counts}. 95% intervals over {report.intervals_over}."]
    rows += [f"\n{one.name}: left out, {one.reason}" for one in report.study.left_out]
    return "\n".join(rows) + "\n"


def _number(value: float, form: str) -> str:
    return "no story has two raters" if math.isnan(value) else format(value, form)
