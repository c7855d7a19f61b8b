"""Fails on one of its files."""

import os


def run(mini_batch):
    for path in mini_batch:
        if os.path.basename(path) == "patient-007.csv":
            raise ValueError("patient-007.csv cannot be scored")
    return [os.path.basename(path) for path in mini_batch]
