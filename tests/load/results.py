"""What all runs gave: medians, comparisons, targets."""

from __future__ import annotations

import math
import statistics
from collections import defaultdict
from dataclasses import dataclass, field

from tests.load.bench import Point, Sample
from tests.load.scenarios import Target


@dataclass
class Results:
    """Samples by scenario and subject, in the order in which they came.

    Attributes:
        failures: why the whole is not to be trusted.
        absent: peers that cannot run on this machine, and why.
    """

    samples: dict[tuple[str, str], list[Sample]] = field(default_factory=lambda: defaultdict(list))
    failures: list[str] = field(default_factory=list)
    absent: dict[str, str] = field(default_factory=dict)

    def add(self, scenario: str, subject: str, sample: Sample) -> None:
        """Take one sample in; its faults fail the benchmark."""
        self.samples[scenario, subject].append(sample)
        self.failures += [f"{scenario}, {subject}: {fault}" for fault in sample.faults]

    def values(self, scenario: str, subject: str, figure: str) -> list[float]:
        """A figure in each run."""
        samples = self.samples.get((scenario, subject), [])
        figures = [sample.figures[figure] for sample in samples if figure in sample.figures]
        return [value for value in figures if not math.isnan(value)]  # e.g. CPU per client where none was accepted

    def median(self, scenario: str, subject: str, figure: str) -> float | None:
        """A figure's median, None where there is none."""
        values = self.values(scenario, subject, figure)
        return statistics.median(values) if values else None

    def is_floor(self, scenario: str, subject: str, figure: str) -> bool:
        """Whether the generator kept a figure down in some run."""
        return any(figure in sample.floors for sample in self.samples.get((scenario, subject), []))

    def curves(self, scenario: str) -> dict[str, list[Point]]:
        """Subject → the points of its curve."""
        return {subject: samples[0].points for (name, subject), samples in self.samples.items() if name == scenario}

    def notes(self, scenario: str, subject: str) -> list[str]:
        """What was noted in any run, once."""
        samples = self.samples.get((scenario, subject), [])
        return list(dict.fromkeys(note for sample in samples for note in sample.notes))


@dataclass(frozen=True)
class Verdict:
    """A target and what became of it.

    Attributes:
        value: the figure, or its share of the other subject's; None: not measured.
    """

    target: Target
    value: float | None

    @property
    def is_met(self) -> bool:
        """Whether it was measured and is within the limit."""
        if self.value is None or math.isnan(self.value):
            return False
        least, most = self.target.at_least, self.target.at_most
        return (least is None or self.value >= least) and (most is None or self.value <= most)


def judge(results: Results, target: Target) -> Verdict:
    """Compare a median with its target."""
    value = results.median(target.scenario, target.subject, target.figure)
    if target.over and value is not None:
        scenarios = [target.over_in or target.scenario, target.or_over]
        others = [results.median(scenario, target.over, target.figure) for scenario in scenarios if scenario]
        value = _share(value, min((other for other in others if other is not None), default=None))
    return Verdict(target, value)


def _share(value: float, other: float | None) -> float | None:
    if other is None:
        return None
    if other == 0:  # nothing was refused there: nothing may be here
        return 0.0 if value == 0 else math.inf
    return value / other
