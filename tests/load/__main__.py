"""``python -m tests.load``: run the benchmark, print its tables, write ``tests/load/results/<date>.md``."""

from __future__ import annotations

import argparse
import datetime as dt
import sys
import time
from dataclasses import replace
from pathlib import Path

from tests.load import machine, report
from tests.load.bench import MeasurementFailed
from tests.load.generator.fleet import GeneratorFailed
from tests.load.measurements import measure
from tests.load.node_packages import PackagesMissing
from tests.load.plot import plot
from tests.load.processes import cores_split, files_raise, on_cores
from tests.load.results import Results
from tests.load.scenarios import FULL, QUICK, Plan, Scenario
from tests.load.stage import ROOT, Stage, stage_set

RESULTS = Path(__file__).parent / "results"
FILES = 12_000
CONFIG = Path(__file__).parent / "clarion.toml"


def main() -> int:
    """Return 0 if every target was met, 1 if one was missed, 2 if a figure is absent or not to be trusted."""
    arguments = _arguments()
    plan = _plan(arguments)
    files, cores, load_before, start = files_raise(), cores_split(), machine.load_average(), time.monotonic()
    if files < FILES:
        print(f"The limit of open files is {files:,}; {FILES:,} are needed (ulimit -n).", file=sys.stderr)
        return 2
    print(f"Clarion benchmark, {plan.name}: {plan.runs} run(s) of {len(plan.scenarios)} scenarios", flush=True)
    results = Results()
    with on_cores(cores.load), stage_set(cores, CONFIG) as stage:
        _run(plan, stage, results, start)
    command = "make bench-quick" if plan.name == "quick" else "make bench"
    took_s = time.monotonic() - start
    verdicts = report.judged(plan, results)
    print("\n" + report.tables(plan, results) + "\n\n" + report.verdict_table(verdicts))
    if arguments.write or not (arguments.only or arguments.subjects):
        picture = _draw(plan, results)
        _write(plan, report.document(plan, results, cores, load_before, took_s, command, picture))
    for failure in results.failures:
        print(f"fault: {failure}", file=sys.stderr)
    if results.failures:
        return 2
    return 0 if all(verdict.is_met for verdict in verdicts) else 1


def _run(plan: Plan, stage: Stage, results: Results, start: float) -> None:
    """Measure everything, run by run, so that what changes on the machine meanwhile meets every subject."""
    for run in range(1, plan.runs + 1):
        for scenario in plan.scenarios:
            for subject in scenario.subjects:
                if subject in results.absent or (scenario.is_once and run > 1):
                    continue
                if time.monotonic() - start > plan.budget_s:
                    results.failures.append(f"{scenario.name}, {subject}, run {run}: not measured, out of time")
                    continue
                _measure(stage, scenario, subject, results, f"{run}/{plan.runs}")


def _measure(stage: Stage, scenario: Scenario, subject: str, results: Results, run: str) -> None:
    label, start = f"{run}  {scenario.name:<10} {subject:<17}", time.monotonic()
    try:
        sample = measure(stage, scenario, subject)
    except PackagesMissing as exc:
        results.absent[subject] = str(exc)
        print(f"{label} absent: {exc}", flush=True)
    except (MeasurementFailed, GeneratorFailed, AssertionError, OSError) as exc:
        results.failures.append(f"{scenario.name}, {subject}, run {run}: {exc}")
        print(f"{label} failed: {exc}", flush=True)
    else:
        results.add(scenario.name, subject, sample)
        notes = "  ".join([*sample.notes, *sample.faults])
        took = f"({time.monotonic() - start:.0f} s)"
        print(f"{label} {report.summary(sample.figures)}  {took}  {notes}".rstrip(), flush=True)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.load", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one run with small numbers: under three minutes")
    parser.add_argument("--only", help="some scenarios, with commas between; writes no file")
    parser.add_argument("--subjects", help="some subjects, with commas between; writes no file")
    parser.add_argument("--write", action="store_true", help="write the file all the same")
    parser.add_argument("--runs", type=int, help="runs instead of the plan's")
    return parser.parse_args()


def _plan(arguments: argparse.Namespace) -> Plan:
    plan = QUICK if arguments.quick else FULL
    if arguments.only:
        names = arguments.only.split(",")
        if unknown := set(names) - {scenario.name for scenario in plan.scenarios}:
            raise SystemExit(f"unknown: {', '.join(sorted(unknown))}")
        plan = replace(plan, scenarios=tuple(scenario for scenario in plan.scenarios if scenario.name in names))
    if arguments.subjects:
        wanted = set(arguments.subjects.split(","))
        plan = replace(plan, scenarios=tuple(_of_subjects(scenario, wanted) for scenario in plan.scenarios))
    return replace(plan, runs=arguments.runs) if arguments.runs else plan


def _of_subjects(scenario: Scenario, wanted: set[str]) -> Scenario:
    return replace(scenario, subjects=tuple(subject for subject in scenario.subjects if subject in wanted))


def _result(plan: Plan, suffix: str) -> Path:
    """A file of today's results."""
    RESULTS.mkdir(exist_ok=True)
    date = dt.datetime.now(dt.UTC).date().isoformat()
    return RESULTS / f"{date}{'-quick' if plan.name == 'quick' else ''}{suffix}"


def _draw(plan: Plan, results: Results) -> str:
    """Write the picture of the curves; return its name, "" if the plan has none."""
    if not results.curves("by-size") and not results.curves("by-rate"):
        return ""
    path = _result(plan, ".png")
    caption = f"One gateway process on one core of {machine.cpu_model()}, 142-byte publications, loopback"
    plot(results.curves("by-size"), results.curves("by-rate"), path, caption)
    return path.name


def _write(plan: Plan, text: str) -> None:
    path = _result(plan, ".md")
    path.write_text(text, encoding="utf-8")
    print(f"\nWritten: {path.relative_to(ROOT)}")


if __name__ == "__main__":
    sys.exit(main())
