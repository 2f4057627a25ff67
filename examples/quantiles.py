"""Quantile regression: an interval for every row, from one fit, and a plot of it in demo/quantiles.png."""

from pathlib import Path

import matplotlib as mpl
import numpy as np
import pandas as pd
from sklearn.datasets import load_diabetes
from sklearn.model_selection import train_test_split

from sknn import NeuralRegressor

mpl.use("Agg")
from matplotlib import pyplot as plt

QUANTILES = (0.1, 0.5, 0.9)


def draw(reg, X, y, path):
    """Plot the intervals and true values of new rows, sorted by predicted median."""
    low, median, high = reg.predict(X).T
    order = np.argsort(median)
    position = np.arange(len(order))
    inside = ((y >= low) & (y <= high)).to_numpy()[order]
    figure, ax = plt.subplots(figsize=(8.5, 4.2), layout="constrained")
    ax.fill_between(position, low[order], high[order], color="#2a6f97", alpha=0.2, linewidth=0, label="10 % to 90 %")
    ax.plot(position, median[order], color="#2a6f97", linewidth=2, label="median")
    truth = y.to_numpy()[order]
    ax.plot(position[inside], truth[inside], ".", color="#40464f", label="truth, inside")
    ax.plot(position[~inside], truth[~inside], ".", color="#e07a2f", label="truth, outside")
    ax.set(xlabel="new patients, by predicted median", ylabel="progression of diabetes after a year")
    ax.spines[["top", "right"]].set_visible(False)
    ax.legend(frameon=False, ncols=4, loc="upper center", bbox_to_anchor=(0.5, 1.12))
    path.parent.mkdir(exist_ok=True)
    figure.savefig(path, dpi=150)
    plt.close(figure)


def main():
    X, y = load_diabetes(return_X_y=True, as_frame=True, scaled=False)
    X_train, X_test, y_train, y_test = train_test_split(X, y, random_state=0)
    reg = NeuralRegressor(loss="quantile", quantile=QUANTILES, hidden_layer_sizes=(64, 64), random_state=0)
    reg.fit(X_train, y_train)
    intervals = pd.DataFrame(reg.predict(X_test), columns=["10 %", "50 %", "90 %"], index=y_test.index)
    print("Predicted quantiles and true values of the first new rows:\n")
    print(intervals.assign(truth=y_test).head().round(1).to_string(index=False), "\n")
    inside = y_test.between(intervals["10 %"], intervals["90 %"]).mean()
    print(f"Share of new rows inside their interval: {inside:.2f} (expected: 80 %)")
    print(f"D2 pinball score: {reg.score(X_test, y_test):.3f} (the best constant has 0)")
    path = Path("demo", "quantiles.png")
    draw(reg, X_test, y_test, path)
    print(f"Picture: {path}")
    return intervals


if __name__ == "__main__":
    main()
