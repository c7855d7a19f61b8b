"""A run that lasts as long as a test wants: until its gate file is there, or for so many seconds."""

import argparse
import time
from pathlib import Path

parser = argparse.ArgumentParser()
parser.add_argument("--gate", default="open")
parser.add_argument("--seconds", type=float, default=0.0)
options, _ = parser.parse_known_args()

#: A forgotten run ends by itself.
LONGEST = 3600


def run(mini_batch):
    if options.gate != "open":
        gate, end = Path(options.gate), time.monotonic() + LONGEST
        while not gate.exists() and time.monotonic() < end:
            time.sleep(0.05)
        if gate.read_text() == "fail":
            raise ValueError("The gate says so.")
    time.sleep(options.seconds)
    return [f"{Path(name).name}: 1" for name in mini_batch]
