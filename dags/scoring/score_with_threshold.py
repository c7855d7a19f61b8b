"""Score feature files, with the probability above which a tumour is called benign as an argument."""

import argparse
import os

import joblib
import numpy as np
from azureml.core import Model

# The command line also holds what Azure adds: take what is yours and let the rest pass.
parser = argparse.ArgumentParser(allow_abbrev=False)
parser.add_argument("--threshold", type=float, default=0.5)
parser.add_argument("--model_version", type=int, default=None)
args, _ = parser.parse_known_args()
model = None


def init():
    """Load the model once per worker process."""
    global model
    model = joblib.load(Model.get_model_path("breast-cancer", version=args.model_version))


def run(mini_batch):
    """Return one ``<file name>,<label>,<probability>`` line for each feature file."""
    lines = []
    for path in mini_batch:
        features = np.genfromtxt(path, delimiter=",").reshape(1, -1)
        probability = model.predict_proba(features)[0, 1]
        lines.append(f"{os.path.basename(path)},{int(probability >= args.threshold)},{probability:.6f}")
    return lines
