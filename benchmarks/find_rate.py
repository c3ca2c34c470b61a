"""What the range test of ``lr="find"`` finds, and what it is worth.

Six draws of 100 digits to train on, with ``lenet5`` and with ``pocket`` at 32 px, a
solved and a random head, several cuts: the rates that were found, and the accuracy on
500 other digits after 5 epochs at that rate and at the default.

Run with: python benchmarks/find_rate.py
"""

import warnings

import numpy as np
from _frame import arguments, host, publish
from sklearn.datasets import load_digits

from sktl import FineTunedClassifier

SEEDS = range(6)
NETWORKS = {"lenet5": None, "pocket": 32}


def accuracy(data, seed, **params):
    """Return a fitted net and its accuracy on the test digits."""
    X, y = data
    order = np.random.default_rng(seed).permutation(len(y))
    train, test = order[:100], order[100:600]
    net = FineTunedClassifier(augment="none", max_epochs=5, random_state=seed, **params)
    net.fit(X[train], y[train])
    return net, net.score(X[test], y[test])


def main():
    """Fit every combination at both rates."""
    warnings.simplefilter("ignore")
    args = arguments(__doc__)
    before = host()
    data = load_digits(return_X_y=True)
    seeds = SEEDS[: max(2, round(len(SEEDS) * args.share))]
    rows = []
    for name, size in NETWORKS.items():
        for head_init in ("probe", "random"):
            for unfreeze in ("head", 1, "all"):
                params = {
                    "backbone": name,
                    "image_size": size,
                    "head_init": head_init,
                    "unfreeze": unfreeze,
                }
                found = [accuracy(data, seed, lr="find", **params) for seed in seeds]
                usual = [accuracy(data, seed, **params)[1] for seed in seeds]
                rates = [net.lr_ for net, _ in found]
                rows.append(
                    {
                        "network": name,
                        "head": head_init,
                        "unfreeze": str(unfreeze),
                        "lowest rate": min(rates),
                        "highest rate": max(rates),
                        "highest / lowest": max(rates) / min(rates),
                        "% at the rate found": 100 * np.mean([s for _, s in found]),
                        "% at lr=1e-3": 100 * np.mean(usual),
                    }
                )
    notes = [f"{len(seeds)} draws of 100 digits, 5 epochs, 500 digits to test on."]
    publish("find_rate", rows, notes, args, before)


if __name__ == "__main__":
    main()
