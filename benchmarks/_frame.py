"""What all benchmarks share: interleaved repeats, medians with spread, JSON, a table.

Contenders take turns, round after round, so that other work on the machine affects all
of them alike. The first round is not counted. Compare the rates within one run, not
with those of another machine or another hour: quote ratios.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import time
from collections.abc import Callable, Mapping
from datetime import date, datetime, timezone
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

RESULTS = Path(__file__).parent / "results"
PACKAGES = [
    "sktl",
    "torch",
    "torchvision",
    "timm",
    "openvino",
    "scikit-learn",
    "numpy",
    "pillow",
    "embetter",
    "img2vec-pytorch",
]


def arguments(description: str) -> argparse.Namespace:
    """Return the arguments of the command line."""
    parser = argparse.ArgumentParser(description=description.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=5, help="rounds that count")
    parser.add_argument(
        "--quick", action="store_true", help="small sizes, to see that it runs"
    )
    parser.add_argument(
        "--share", type=float, default=1.0, help="part of the full size to run"
    )
    parser.add_argument(
        "--out", type=Path, default=RESULTS, help="where the JSON is written"
    )
    found = parser.parse_args()
    if found.quick:
        found.share, found.repeats = min(found.share, 0.06), 1
    return found


def interleaved(
    cases: Mapping[str, Callable[[], object]], repeats: int, warm_up: int = 1
) -> dict[str, dict[str, float]]:
    """Time each case ``repeats`` times, in turn; seconds with quartiles.

    ``cpu`` is the median of the CPU seconds of all threads of this process. With one
    thread it is the better measure if others use the machine too.
    """
    seconds: dict[str, list[float]] = {name: [] for name in cases}
    cpu: dict[str, list[float]] = {name: [] for name in cases}
    for round_ in range(-warm_up, repeats):
        for name, run in cases.items():
            start, cpu_start = time.perf_counter(), time.process_time()
            run()
            if round_ >= 0:
                seconds[name].append(time.perf_counter() - start)
                cpu[name].append(time.process_time() - cpu_start)
    return {
        name: {**summary(values), "cpu": statistics.median(cpu[name])}
        for name, values in seconds.items()
    }


def summary(values: list[float]) -> dict[str, float]:
    """Return median, quartiles and number of measurements."""
    low, _, high = (
        statistics.quantiles(values, n=4, method="inclusive")
        if len(values) > 1
        else values * 3
    )
    return {
        "median": statistics.median(values),
        "low": low,
        "high": high,
        "n": len(values),
    }


def host() -> dict:
    """Return what the figures depend on."""
    model = platform.processor()
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                model = line.partition(":")[2].strip()
                break
    except OSError:
        pass
    versions = {}
    for package in PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            versions[package] = None
    import torch

    gpu = torch.cuda.get_device_name(0) if torch.cuda.is_available() else None
    return {
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "processor": model,
        "gpu": gpu,
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "load": round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "versions": versions,
    }


def publish(name: str, rows: list[dict], notes: list[str], args, before: dict) -> None:
    """Print the table and write ``results/<name>.json``."""
    print(f"\n{name}\n" + table(rows))
    for note in notes:
        print(f"- {note}")
    args.out.mkdir(parents=True, exist_ok=True)
    path = args.out / f"{name}.json"
    result = {"host": before, "share": args.share, "notes": notes, "rows": rows}
    path.write_text(json.dumps(result, indent=1) + "\n")
    print(f"written to {path}")


def write_table(name: str, rows: list[dict], packages: tuple[str, ...], **more) -> None:
    """Write ``results/<name>.json`` with the versions that the figures depend on."""
    RESULTS.mkdir(parents=True, exist_ok=True)
    result = {
        "date": str(date.today()),
        "python": platform.python_version(),
        "cpu_count": os.cpu_count(),
        "versions": {package: version(package) for package in packages},
        **more,
        "table": rows,
    }
    (RESULTS / f"{name}.json").write_text(json.dumps(result, indent=1) + "\n")


def table(rows: list[dict]) -> str:
    """Return ``rows`` as text, one line each."""
    columns = list(dict.fromkeys(key for row in rows for key in row))
    cells = [columns] + [[shown(row.get(key)) for key in columns] for row in rows]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True))
        for line in cells
    )


def shown(value) -> str:
    """Return one cell as text."""
    if value is None:
        return "-"
    if isinstance(value, dict):
        return (
            f"{shown(value['median'])} ({shown(value['low'])}-{shown(value['high'])})"
        )
    if isinstance(value, float):
        return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"
    return str(value)
