"""Classifier two-sample test: 0.5 where samples cannot be told apart, 1 where they always can."""

import warnings

import numpy as np

__all__ = ["c2st"]


def c2st(x, y, seed=0):
    """Cross-validated accuracy of a perceptron on z-scored samples, as in the SBI benchmark.

    Lueckmann et al. (2021). Benchmarking simulation-based inference. AISTATS. arXiv:2101.04653
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.model_selection import KFold, cross_val_score
    from sklearn.neural_network import MLPClassifier

    location, scale = x.mean(0), x.std(0)
    data = (np.concatenate([x, y]) - location) / scale
    labels = np.repeat([0, 1], [len(x), len(y)])
    width = 10 * x.shape[1]
    network = MLPClassifier(
        hidden_layer_sizes=(width, width), max_iter=1000, solver="adam", random_state=seed
    )
    folds = KFold(n_splits=5, shuffle=True, random_state=seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return float(cross_val_score(network, data, labels, cv=folds, n_jobs=2).mean())
