"""The tables: on the terminal, and as ``results/<date>.md``."""

from __future__ import annotations

import datetime as dt
import math
from typing import Final

from tests.load import machine
from tests.load.processes import Cores
from tests.load.results import Results, Verdict, judge
from tests.load.scenarios import NOISE, TARGETS, Plan, Scenario
from tests.load.subjects import SUBJECTS

QUIET: Final = 0.1
"""A server whose core others use for more than this share of the time does not have it alone."""

FIGURES: Final = {
    "per_s": ("{:,.0f}", "/s"),
    "accepted": ("{:,.0f}", "accepted"),
    "refused": ("{:,.0f}", "refused"),
    "missing": ("{:,.0f}", "missing"),
    "errors": ("{:,.0f}", "errors"),
    "cpu_us": ("{:,.3g}", "CPU µs each"),
    "idle_kib": ("{:,.1f}", "idle KiB each"),
    "tcp_kib": ("{:,.2f}", "KiB, TCP"),
    "websocket_kib": ("{:,.2f}", "KiB, WebSocket"),
    "session_kib": ("{:,.2f}", "KiB, session"),
    "subscription_kib": ("{:,.2f}", "KiB, subscription"),
    "publisher_few_us": ("{:,.1f}", "publisher's CPU µs, 10"),
    "publisher_many_us": ("{:,.1f}", "the same, 10,000"),
    "publisher_ratio": ("{:,.2f}", "ratio"),
    "redis_few_us": ("{:,.1f}", "Redis's CPU µs, 10"),
    "redis_many_us": ("{:,.1f}", "Redis's, 10,000"),
    "redis_ratio": ("{:,.2f}", "ratio of Redis's"),
    "cpu_1_us": ("{:,.2f}", "CPU µs each, 1 gateway"),
    "cpu_2_us": ("{:,.2f}", "2 gateways"),
    "cpu_4_us": ("{:,.2f}", "4 gateways"),
    "spread": ("{:,.2f}", "most / least"),
    "redis_1_us": ("{:,.1f}", "Redis's CPU µs a publish, 1"),
    "redis_2_us": ("{:,.1f}", "2 of them"),
    "redis_4_us": ("{:,.1f}", "4 of them"),
    "redis_growth_us": ("{:,.1f}", "µs more a gateway"),
    "sub_kib": ("{:,.2f}", "KiB per subscription"),
    "plain_us": ("{:,.1f}", "CPU µs, plain"),
    "kept_us": ("{:,.1f}", "CPU µs, with history"),
    "ratio": ("{:,.2f}", "ratio of CPU"),
    "plain_wall_us": ("{:,.1f}", "µs, plain"),
    "kept_wall_us": ("{:,.1f}", "µs, with history"),
    "wall_ratio": ("{:,.2f}", "ratio of time"),
    "recover_ms": ("{:,.0f}", "ms to recover"),
    "recover_worst_ms": ("{:,.0f}", "ms, slowest"),
    "reads": ("{:,.0f}", "stream reads"),
    "seconds": ("{:,.2f}", "s until all have all"),
    "p50_ms": ("{:,.1f}", "p50 ms"),
    "p99_ms": ("{:,.1f}", "p99 ms"),
    "redis_before": ("{:,.0f}", "Redis connections"),
    "redis_growth": ("{:+,.0f}", "more of them after"),
    "wall_s": ("{:,.2f}", "seconds"),
    "bursts": ("{:,.0f}", "bursts"),
    "server_busy": ("{:.0%}", "server's core"),
    "others_busy": ("{:.0%}", "others on it"),
    "load_busy": ("{:.0%}", "load's core"),
}
"""Columns in their order: how a number is written, and its heading. Every scenario shows those that it has."""


def summary(sample_figures: dict[str, float]) -> str:
    """One sample in a line of progress."""
    shown = ((name, *FIGURES[name]) for name in FIGURES if name in sample_figures)
    return "  ".join(f"{heading} {_write(sample_figures[name], form)}" for name, form, heading in shown)


def tables(plan: Plan, results: Results) -> str:
    """One table a scenario: medians."""
    return "\n\n".join(_table(scenario, results) for scenario in plan.scenarios if _is_measured(scenario, results))


def judged(plan: Plan, results: Results) -> list[Verdict]:
    """What became of each target of a plan's scenarios; a peer that is absent is no target."""
    subjects = {scenario.name: set(scenario.subjects) - results.absent.keys() for scenario in plan.scenarios}
    return [
        judge(results, target)
        for target in TARGETS
        if target.subject in subjects.get(target.scenario, ())
        and (not target.over or target.over in subjects.get(target.over_in or target.scenario, ()))
    ]


def verdict_table(verdicts: list[Verdict]) -> str:
    """One row a target."""
    rows = [
        [_target_text(verdict), _value_text(verdict), _limit_text(verdict), "met" if verdict.is_met else "**missed**"]
        for verdict in verdicts
    ]
    return markdown([["target", "measured", "wanted", ""], *rows], numbers={1, 2})


def document(
    plan: Plan, results: Results, cores: Cores, load_before: float, took_s: float, command: str, picture: str
) -> str:
    """The whole result file; ``picture`` is beside it, "" if there is none."""
    verdicts = judged(plan, results)
    return "\n".join(
        [
            f"# Benchmark of {dt.datetime.now(dt.UTC).date().isoformat()} ({plan.name})",
            "",
            f"{_summary_line(verdicts, results)} How to read it: [README](../README.md).",
            "",
            f"- Machine: {machine.cpu_model()}, {machine.cores()} cores. Load average before: {load_before:.2f}.",
            f"- Cores: {_cores_text(cores)}. {_quiet_text(results)}",
            f"- Versions: {machine.versions()}.",
            *[f"- Absent: {text}." for text in results.absent.values()],
            f"- Medians of {plan.runs} run(s), subjects in turn, a fresh server for each measurement, loopback only.",
            f"- Command: `{command}`; it took {took_s / 60:.1f} min.",
            "",
            "## Targets",
            "",
            verdict_table(verdicts),
            "",
            f'"No worse" allows for {NOISE:.0%} of noise.',
            "",
            *_picture(picture),
            "## Figures",
            "",
            tables(plan, results),
            "",
            *_failures(results),
            "## Scenarios",
            "",
            *[f"- {_scenario_text(scenario)}" for scenario in plan.scenarios],
            "",
        ]
    )


def _picture(name: str) -> list[str]:
    if not name:
        return []
    text = "Deliveries a second and p99 by the size of a room and by what is offered"
    return [
        f"![{text}]({name})",
        "",
        "One run of each curve. A hollow marker: not all had come when it was cut, or some was dropped; then the",
        "curve ends, and p99 is of what came.",
        "",
    ]


def _summary_line(verdicts: list[Verdict], results: Results) -> str:
    missed = sum(not verdict.is_met for verdict in verdicts)
    if results.failures:
        return "**Not to be trusted: see Faults.**"
    return f"**{missed} of {len(verdicts)} targets missed.**" if missed else f"**All {len(verdicts)} targets met.**"


def _is_measured(scenario: Scenario, results: Results) -> bool:
    return any((scenario.name, subject) in results.samples for subject in scenario.subjects)


def _table(scenario: Scenario, results: Results) -> str:
    measured = [subject for subject in scenario.subjects if (scenario.name, subject) in results.samples]
    figures = [
        name
        for name in FIGURES
        if any(results.median(scenario.name, subject, name) is not None for subject in measured)
    ]
    if scenario.kind in {"sizes", "rates"}:
        return _curve_table(scenario, results, measured)
    rows = [[scenario.title, *(FIGURES[name][1] for name in figures)]]
    notes = []
    for subject in measured:
        medians = [results.median(scenario.name, subject, name) for name in figures]
        cells = [_write(value, FIGURES[name][0]) for name, value in zip(figures, medians, strict=True)]
        floors = [results.is_floor(scenario.name, subject, name) for name in figures]
        cells = [f"≥ {cell}" if is_floor else cell for cell, is_floor in zip(cells, floors, strict=True)]
        rows.append([SUBJECTS[subject].title, *cells])
        notes += [f"{SUBJECTS[subject].title}: {note}." for note in results.notes(scenario.name, subject)]
    return "\n\n".join([markdown(rows, numbers=set(range(1, len(figures) + 1))), *notes])


def _curve_table(scenario: Scenario, results: Results, measured: list[str]) -> str:
    """Deliveries a second and p99 at each step; what is in brackets was cut."""
    curves = results.curves(scenario.name)
    xs = sorted({point.x for points in curves.values() for point in points})
    step = "members" if scenario.kind == "sizes" else "offered/s"
    rows = [[f"{scenario.title}: /s, p99 ms", *(f"{x:,} {step}" for x in xs)]]
    for subject in measured:
        cells = {point.x: f"{_write(point.per_s, '{:,.0f}')}, {point.p99_ms:,.1f}" for point in curves[subject]}
        cut = {point.x for point in curves[subject] if not point.is_whole}
        rows.append([SUBJECTS[subject].title, *(f"({cells[x]})" if x in cut else cells.get(x, "-") for x in xs)])
    return markdown(rows, numbers=set(range(1, len(xs) + 1)))


def markdown(rows: list[list[str]], numbers: set[int]) -> str:
    """A table; the columns ``numbers`` are set to the right."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = []
    for index, row in enumerate(rows):
        cells = [
            cell.rjust(width) if column in numbers else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append("| " + " | ".join(cells) + " |")
        if index == 0:
            rules = ["-" * (width - 1) + (":" if column in numbers else "-") for column, width in enumerate(widths)]
            lines.append("| " + " | ".join(rules) + " |")
    return "\n".join(lines)


def _write(value: float | None, form: str) -> str:
    if value is None or math.isnan(value):
        return "-"
    if "g}" in form:
        return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
    return form.format(value)


def _target_text(verdict: Verdict) -> str:
    target = verdict.target
    over = f" / {SUBJECTS[target.over].title}" if target.over else ""
    over += f" in `{target.over_in}`" if target.over_in else ""
    over += f" (the lower one of `{target.scenario}` and `{target.or_over}`)" if target.or_over else ""
    return f"{target.scenario}: {FIGURES[target.figure][1]}, {SUBJECTS[target.subject].title}{over}"


def _value_text(verdict: Verdict) -> str:
    if verdict.value is None:
        return "not measured"
    return _number(verdict.value) + (" x" if verdict.target.over else "")


def _limit_text(verdict: Verdict) -> str:
    target = verdict.target
    sign, limit = ("≥", target.at_least) if target.at_least is not None else ("≤", target.at_most)
    return f"{sign} {_number(limit or 0.0)}" + (" x" if target.over else "")


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 or value == int(value) else f"{value:.2f}"


def _cores_text(cores: Cores) -> str:
    server, load = (", ".join(map(str, sorted(part))) for part in (cores.server, cores.load))
    text = f"the measured server alone on core {server}; load generator, publisher and Redis on core {load}"
    return text if cores.are_apart else f"{text} (one core for all: compare with no other machine)"


def _quiet_text(results: Results) -> str:
    """How quiet the machine was, as the measured servers felt it."""
    others = {where: results.median(*where, "others_busy") or 0.0 for where in results.samples}
    (scenario, subject), most = max(others.items(), key=lambda item: item[1], default=(("", ""), 0.0))
    if most <= QUIET:
        return f"Others used at most {most:.0%} of the server's core."
    return (
        "**The machine was not quiet**: others used up to "
        f"{most:.0%} of the server's core (`{scenario}`, {SUBJECTS[subject].title})."
    )


def _failures(results: Results) -> list[str]:
    return ["## Faults", "", *[f"- {failure}" for failure in results.failures], ""] if results.failures else []


def _scenario_text(scenario: Scenario) -> str:
    parts = [f"{scenario.clients:,} {'connections' if scenario.kind == 'publish' else 'clients'}"]
    if scenario.kind == "connect":
        parts.append(f"{scenario.in_flight} handshakes at a time" if scenario.in_flight else "all at once")
        parts.append(f"{scenario.channel_members} to a channel, a token verified, a browser's headers, 1 KB of cookies")
    if scenario.messages:
        parts.append(f"{scenario.messages} publications in one write to Redis, cut after {scenario.deadline_s:g} s")
    if scenario.rate_hz:
        parts.append(f"{scenario.rate_hz:g} publications a second for {scenario.duration_s:g} s")
    elif scenario.duration_s:
        parts.append(f"{scenario.duration_s:g} s")
    return f"`{scenario.name}` ({scenario.title}): {'; '.join(parts)}."
