"""Runs every benchmark, or those that are named: ``python -m benchmarks [NAME...] [--json]``.

Each compares what the project does with what a user would do instead, in the same run on the same
machine: the ratios are what to look at, the seconds are this machine's.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import platform
import sys
from contextlib import suppress
from importlib import metadata
from pathlib import Path

NAMES = sorted(
    path.stem.removeprefix("bench_") for path in Path(__file__).parent.glob("bench_*.py")
)


def main() -> int:
    """Run the benchmarks; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(NAMES)}")
    parser.add_argument("--json", action="store_true", help="print the numbers for machines")
    options = parser.parse_args()
    unknown = sorted(set(options.names) - set(NAMES))
    if unknown:
        parser.error(f"no benchmark {', '.join(unknown)}; there are {', '.join(NAMES)}")
    machine = _machine()
    results: dict[str, object] = {"machine": machine}
    print("  ".join(f"{key} {value}" for key, value in machine.items()), file=sys.stderr)
    for name in options.names or NAMES:
        module = importlib.import_module(f"benchmarks.bench_{name}")
        rows = module.run()
        results[name] = [row._asdict() for row in rows]
        if not options.json:
            print(f"\n{name}: {module.__doc__.splitlines()[0]}")
            width = max((len(row.what) for row in rows), default=0)
            for row in rows:
                more = "  ".join(f"{key} {value:.3g}" for key, value in (row.more or {}).items())
                line = f"  {row.what:{width}}  {row.seconds:9.3f} s  {row.ratio:8.2f}  {more}"
                print(line.rstrip())
    if options.json:
        print(json.dumps(results, indent=1))
    return 0


def _machine() -> dict[str, object]:
    """What the numbers depend on; packages that are not installed are left out."""
    machine: dict[str, object] = {
        "cores": os.cpu_count() or 0,
        "cpu": platform.machine(),
        "python": platform.python_version(),
    }
    packages = (
        "av",
        "datasets",
        "fiftyone",
        "numpy",
        "pyarrow",
        "scikit-learn",
        "torch",
        "transformers",
    )
    for name in packages:
        with suppress(metadata.PackageNotFoundError):
            machine[name] = metadata.version(name)
    if "torch" in machine:
        import torch

        if torch.cuda.is_available():
            machine["gpu"] = torch.cuda.get_device_name()
    return machine


if __name__ == "__main__":
    sys.exit(main())
