"""Runs the benchmarks: versions and settings once, then their lines.

python bench/run.py [--quick] [NAME]...
"""

import os
import platform
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BENCHES = {  # the command, and what makes it short
    "json": (["make", "-s", "-C", "bench", "run-json"], []),
    "producer": ([sys.executable, "-m", "bench.producer"], ["50000", "3"]),
    "producer-real": ([sys.executable, "-m", "bench.producer", "real"], ["20000", "3"]),
    "consumer": ([sys.executable, "-m", "bench.consumer"], ["3"]),
    "read": ([sys.executable, "-m", "bench.read"], ["50000", "3"]),
    "pipeline": ([sys.executable, "-m", "bench.pipeline"], ["200000", "3"]),
    "real": ([sys.executable, "-m", "bench.real"], ["50000", "1"]),
    "scale": ([sys.executable, "-m", "bench.scale"], ["100000", "2"]),
    "collector": ([sys.executable, "-m", "bench.collector"], ["2", "3"]),
    "idle": ([sys.executable, "-m", "bench.idle"], ["3", "20000"]),
}


def processor() -> str:
    """Its name, where it can be had."""
    try:
        names = Path("/proc/cpuinfo").read_text().split("model name\t: ", 1)
    except OSError:
        return platform.processor()
    return names[-1].split("\n", 1)[0]


def main(arguments: list[str]) -> int:
    """The exit code: 1 when a benchmark failed, 2 for a name that is none."""
    quick = "--quick" in arguments
    names = [name for name in arguments if name != "--quick"] or list(BENCHES)
    if unknown := [name for name in names if name not in BENCHES]:
        print(f"no benchmark is called {', '.join(unknown)}; there are {', '.join(BENCHES)}", file=sys.stderr)
        return 2
    subprocess.run([sys.executable, "-m", "kafkapipe", "versions"], cwd=ROOT, check=True)
    print(f"{processor()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}", flush=True)
    failed = 0
    for name in names:
        command, short = BENCHES[name]
        failed |= subprocess.run(command + short * quick, cwd=ROOT, check=False).returncode
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
