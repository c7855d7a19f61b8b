"""Score feature files with the registered breast cancer classifier.

An ordinary ParallelRunStep entry script: nothing in it knows an emulator, and it runs unchanged on Azure.
"""

import os

import joblib
import numpy as np
from azureml.core import Model

model = None


def init():
    """Load the model once per worker process."""
    global model
    model = joblib.load(Model.get_model_path("breast-cancer"))


def run(mini_batch):
    """Return one ``<file name>: <prediction>`` line for each feature file."""
    lines = []
    for path in mini_batch:
        features = np.genfromtxt(path, delimiter=",").reshape(1, -1)
        lines.append(f"{os.path.basename(path)}: {model.predict(features)[0]}")
    return lines
