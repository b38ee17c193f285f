"""What every benchmark's JSON line says of the machine and the versions."""

import os
import platform
from importlib.metadata import version
from pathlib import Path
from typing import Any


def machine_facts(*packages: str) -> dict[str, Any]:
    """Processor, cores, memory, Python and the versions of the packages that matter."""
    return {
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "python": platform.python_version(),
        "versions": {package: version(package) for package in packages},
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), "unknown")
