"""Serve until killed: ``python -m tests.loopback [--json] [--latency SECONDS]``."""

from __future__ import annotations

import argparse
import json
import shlex
import signal
import sys
import threading
from pathlib import Path

if not __package__:
    # Run by file path: neither this folder nor those beside it may shadow installed modules.
    folder = Path(__file__).resolve().parent
    sys.path[:] = [*sys.path[1:], str(folder.parent)]
    __package__ = folder.name

from .server import LoopbackServer


def main() -> None:
    """Print the environment, then serve until SIGINT or SIGTERM."""
    parser = argparse.ArgumentParser(prog="loopback", description=__doc__)
    parser.add_argument("--json", action="store_true", help="print JSON, not exports")
    parser.add_argument("--latency", type=float, default=0.0, help="added per answer")
    options = parser.parse_args()
    done = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: done.set())
    with LoopbackServer() as server:
        server.faults.latency = options.latency
        environment = server.environment()
        if options.json:
            print(json.dumps(environment), flush=True)
        else:
            for key, value in environment.items():
                print(f"export {key}={shlex.quote(value)}", flush=True)
        done.wait()


if __name__ == "__main__":
    main()
