# SPDX-License-Identifier: Apache-2.0
"""The report in a terminal: a short table, the verdict, and where to look."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from road_kd_seg.errors import printable


def print_report(report: dict[str, Any], folder: Path, console: Console) -> None:
    """A short table and where to look; names are text, whatever brackets they hold, so `console` is without markup."""
    frames, latency, metrics = report["frames"], report["latency_ms"], report["metrics"]
    table = Table(title=f"{report['model']} on {report['bag']['name']} ({report['mode']}, {report['device']})")
    table.add_column("what")
    table.add_column("value", justify="right")
    if metrics is None:
        table.add_row("IoU", report["metrics_note"])
    else:
        for name, value in metrics["iou"].items():
            table.add_row(f"IoU {name}", _text(value, 3))
        table.add_row("mIoU", _text(metrics["miou"], 3), style="bold")
    table.add_section()
    percentiles = " / ".join(_text(latency[name], 1) for name in ("p50", "p95", "p99"))
    table.add_row("latency p50 / p95 / p99 (ms)", percentiles)
    for other in report["comparison"]:
        table.add_section()
        title = f"mIoU minus {other['model']}'s"
        if other["delta"] is None:
            table.add_row(title, other["note"])
        else:
            table.add_row(title, _delta(other["delta"]["miou"]))
            for name, delta in other["delta"]["iou"].items():
                table.add_row(f"IoU {name}", _delta(delta))
        baseline_ms = other["latency_ms"]["p50"]
        if baseline_ms and latency["p50"]:
            table.add_row(f"times as fast as {other['model']}", f"{baseline_ms / latency['p50']:.2f}")
    table.add_section()
    dropped = ", ".join(f"{count} {reason}" for reason, count in frames["dropped"].items() if count) or "none"
    table.add_row(
        "color images sent / received / published", f"{frames['sent']} / {frames['received']} / {frames['published']}"
    )
    table.add_row("dropped", dropped)
    console.print(table)
    for warning in report["verdict"]["warnings"]:
        console.print(Text("warning: ", style="yellow") + Text(warning), soft_wrap=True)
    console.print(report["verdict"]["sentence"], style="bold", soft_wrap=True, highlight=False)
    console.print(
        f"next: open {printable(folder / 'report.html')} (report.json and per_frame.csv lie beside it)", soft_wrap=True
    )


def _delta(delta: dict[str, float | None]) -> str:
    if delta["value"] is None:
        return "n/a"
    if delta["low"] is None:
        return f"{delta['value']:+.3f}"
    return f"{delta['value']:+.3f} [{delta['low']:+.3f}, {delta['high']:+.3f}]"


def _text(value: float | None, digits: int) -> str:
    return "n/a" if value is None else f"{value:.{digits}f}"
