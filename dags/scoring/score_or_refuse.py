"""Score feature files, and refuse the one that the command line names: a script with a bug, for the failure example."""

import argparse
import os

import joblib
import numpy as np
from azureml.core import Model

parser = argparse.ArgumentParser(allow_abbrev=False)
parser.add_argument("--refuse", default="")
args, _ = parser.parse_known_args()
model = None


def init():
    """Load the model once per worker process."""
    global model
    model = joblib.load(Model.get_model_path("breast-cancer"))


def run(mini_batch):
    """Return one ``<file name>: <prediction>`` line for each feature file."""
    lines = []
    for path in mini_batch:
        name = os.path.basename(path)
        if name == args.refuse:
            raise ValueError(f"{name} has no features that could be scored")
        features = np.genfromtxt(path, delimiter=",").reshape(1, -1)
        lines.append(f"{name}: {model.predict(features)[0]}")
    return lines
