"""The picture of a run: deliveries a second and p99, by the room's size and by what is offered."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter

from tests.load.bench import Point
from tests.load.subjects import SUBJECTS

COLOURS: Final = {
    "clarion": "#0b6e4f",
    "protocol": "#37b37e",
    "socketio": "#c0392b",
    "nchan": "#2e5fa8",
    "stock": "#8a8a8a",
}
MARKERS: Final = {"clarion": "o", "protocol": "s", "socketio": "^", "nchan": "D", "stock": "v"}

Curves = Mapping[str, list[Point]]
"""Subject → its points."""


def plot(by_size: Curves, by_rate: Curves, path: Path, caption: str) -> None:
    """Draw four axes, logarithmic all of them, and write a PNG."""
    figure = Figure(figsize=(12, 9), dpi=110, layout="constrained")
    axes = figure.subplots(2, 2, sharex="col")
    _draw(axes[0][0], by_size, lambda point: point.per_s)
    _draw(axes[1][0], by_size, lambda point: point.p99_ms)
    _draw(axes[0][1], by_rate, lambda point: point.per_s)
    _draw(axes[1][1], by_rate, lambda point: point.p99_ms)
    axes[0][0].set(title="one room: a burst of 200 publications", ylabel="deliveries / s")
    axes[1][0].set(title="the same rooms: 5 publications / s", xlabel="members of the room", ylabel="p99 latency, ms")
    axes[0][1].set(title="1,000 members: more and more publications", ylabel="deliveries / s")
    axes[1][1].set(
        title="1,000 members: the same publications", xlabel="deliveries offered / s", ylabel="p99 latency, ms"
    )
    _draw_offered(axes[0][1], by_rate)
    handles, labels = axes[0][1].get_legend_handles_labels()
    more, more_labels = axes[0][0].get_legend_handles_labels()
    named = dict(zip([*more_labels, *labels], [*more, *handles], strict=True))
    named["not all had come when it was cut"] = Line2D(
        [], [], color="#444444", marker="o", markersize=9, markerfacecolor="white", linestyle="none"
    )
    figure.legend(named.values(), named.keys(), loc="outside lower center", ncols=4, frameon=False)
    figure.suptitle(caption, fontsize=11)
    figure.savefig(path)


def _draw(axes: Any, curves: Curves, value: Callable[[Point], float]) -> None:
    for subject, points in curves.items():
        shown = [point for point in points if value(point) == value(point)]  # not NaN
        xs, ys = [point.x for point in shown], [value(point) for point in shown]
        colour, marker = COLOURS[subject], MARKERS[subject]
        axes.plot(xs, ys, color=colour, marker=marker, markersize=6, linewidth=1.6, label=SUBJECTS[subject].title)
        cut = [(x, y) for x, y, point in zip(xs, ys, shown, strict=True) if not point.is_whole]
        for x, y in cut:
            axes.plot(x, y, color=colour, marker=marker, markersize=9, markerfacecolor="white", linestyle="none")
    axes.set_xscale("log")
    axes.set_yscale("log")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(FuncFormatter(_tick_text))
    axes.grid(visible=True, which="major", color="#d8d8d8", linewidth=0.7)
    axes.grid(visible=True, which="minor", color="#eeeeee", linewidth=0.4)


def _tick_text(value: float, _position: int) -> str:
    """Write 10,000,000 as 10 M, 10,000 as 10 k."""
    for size, name in ((1e6, " M"), (1e3, " k")):
        if value >= size:
            return f"{value / size:g}{name}"
    return f"{value:g}"


def _draw_offered(axes: Any, curves: Curves) -> None:
    """A line on which all that is offered arrives."""
    offered = sorted({point.x for points in curves.values() for point in points})
    if offered:
        axes.plot(offered, offered, color="#444444", linestyle=":", linewidth=1, label="as offered", zorder=0)
