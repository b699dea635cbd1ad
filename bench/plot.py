"""Plots the table: every ratio, its spread, and the goal."""

from pathlib import Path

import matplotlib as mpl
from matplotlib import pyplot
from matplotlib.ticker import FormatStrFormatter, NullFormatter

from bench.row import Row

COLORS = {"met": "#2a7f4f", "missed": "#b3472e", "": "#4a6785"}


def plot(rows: list[Row], folder: Path, name: str) -> None:
    """Write a PNG and an SVG to `folder`. Rows without figures are omitted."""
    shown = [row for row in rows if row.ratio is not None and row.failed is None][::-1]
    if not shown:
        return
    mpl.use("Agg")
    mpl.rcParams["svg.hashsalt"] = "crossdock"  # the same figures make the same file
    figure, axes = pyplot.subplots(figsize=(11, 1.2 + 0.42 * len(shown)), layout="constrained")
    for place, row in enumerate(shown):
        assert row.ratio is not None
        axes.plot([min(row.ratios), max(row.ratios)], [place, place], color="#9aa5b1", linewidth=4, zorder=1)
        axes.plot(row.ratio, place, "o", color=COLORS[row.verdict], zorder=3)
        axes.annotate(
            f"{row.ratio:.3g}", (row.ratio, place), (0, 6), textcoords="offset points", fontsize=7, ha="center"
        )
        if row.goal is not None:
            sign = "<" if row.less else ">"
            axes.plot(row.goal, place, sign, color="black", markersize=8, fillstyle="none", zorder=2)
    axes.set_yticks(range(len(shown)), [f"{row.what}\nagainst {row.against}" for row in shown], fontsize=7)
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter(FormatStrFormatter("%g"))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.margins(y=0.5 / len(shown))
    axes.axvline(1, color="#d0d4d9", linewidth=1, zorder=0)
    axes.set_xlabel("ours / theirs: median and spread of pairs; > at least, < at most")
    for suffix in ("png", "svg"):
        figure.savefig(folder / f"{name}.{suffix}", dpi=150, metadata={"Date": None} if suffix == "svg" else None)
    pyplot.close(figure)
