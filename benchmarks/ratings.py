"""Ratings of models from their results on many tables, and a picture of accuracy beside cost.

    python -m benchmarks.ratings RESULTS.jsonl ... [--picture accuracy.png]

Each line of RESULTS holds `task`, `model`, `seed`, `cpu_s`, and `loss` (or `log_loss` or `rmse`). A model wins against
another on a table if its mean loss over the seeds that both have is lower. The ratings are those of Bradley and Terry
(1952) on Elo's scale: 400 points are odds of 10 to 1. The intervals come from drawing the tables again.
"""

import argparse
import json
from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.linear_model import LogisticRegression

SCALE = 400 / np.log(10)  # Elo points for each unit of the log odds
PRIOR = 10.0  # C of the logistic regression: keeps the rating of a model that always wins finite
DRAWS = 1000


def read_results(paths):
    """Return a frame with a row for each task, model and seed; the last one if there are several."""
    rows = pd.DataFrame([json.loads(line) for path in paths for line in path.read_text().splitlines()])
    for name in ("log_loss", "rmse"):
        if name in rows:
            rows["loss"] = rows["loss"].fillna(rows[name]) if "loss" in rows else rows[name]
    rows = rows.dropna(subset=["loss"]).drop_duplicates(["task", "model", "seed"], keep="last")
    return rows[["task", "model", "seed", "loss", "cpu_s"]]


def find_wins(results):
    """Return a frame of pairs: the task, the model with the lower mean loss, and the other; ties are left out."""
    losses = results.pivot_table(index=["task", "seed"], columns="model", values="loss")
    wins = []
    for a, b in combinations(losses.columns, 2):
        means = losses[[a, b]].dropna().groupby("task").mean()
        wins += [
            (task, a, b) if row[a] < row[b] else (task, b, a) for task, row in means.iterrows() if row[a] != row[b]
        ]
    return pd.DataFrame(wins, columns=["task", "winner", "loser"])


def rate(wins, models, counts=None):
    """Return the rating of each model, with a mean of 1000; each pair counts `counts` times.

    Every pair is also entered with the roles exchanged, since a logistic regression needs both classes.
    """
    design = np.zeros((len(wins), len(models)))
    number = {model: i for i, model in enumerate(models)}
    design[np.arange(len(wins)), wins.winner.map(number)] = 1
    design[np.arange(len(wins)), wins.loser.map(number)] = -1
    both, won = np.concatenate([design, -design]), np.repeat([1, 0], len(wins))
    weight = None if counts is None else np.tile(counts, 2)
    strengths = LogisticRegression(C=PRIOR, fit_intercept=False, max_iter=1000).fit(both, won, weight).coef_[0]
    return 1000 + SCALE * (strengths - strengths.mean())


def rate_with_intervals(results, seed=0):
    """Return a frame of the models, best first: rating, 95% interval over tables, tables, median CPU seconds."""
    wins, models = find_wins(results), sorted(results.model.unique())
    tasks, task_of_pair = np.unique(wins.task, return_inverse=True)
    random = np.random.default_rng(seed)
    draws = []
    for _ in range(DRAWS):
        counts = np.bincount(random.integers(0, len(tasks), len(tasks)), minlength=len(tasks))[task_of_pair]
        draws.append(rate(wins[counts > 0], models, counts[counts > 0]))
    low, high = np.quantile(draws, [0.025, 0.975], axis=0)
    frame = pd.DataFrame({"rating": rate(wins, models), "low": low, "high": high}, index=pd.Index(models, name="model"))
    by_model = results.groupby("model")
    frame["tables"], frame["cpu_s"] = by_model.task.nunique(), by_model.cpu_s.median()
    return frame.sort_values("rating", ascending=False)


def draw(ratings, path):
    """Draw the ratings with their intervals over the CPU seconds of a fit."""
    import matplotlib.pyplot as plt

    figure, ax = plt.subplots(figsize=(8, 4.5), layout="constrained")
    for model, row in ratings.iterrows():
        colour = "#dd1c54" if model.startswith("sknn") else "#4a5568"
        errors = [[row.rating - row.low], [row.high - row.rating]]
        ax.errorbar(row.cpu_s, row.rating, errors, fmt="o", color=colour, ecolor=colour, elinewidth=1, capsize=2)
        ahead = np.log10(ratings.cpu_s / row.cpu_s)
        is_crowded = ((ahead > 0) & (ahead < 0.8) & ((ratings.rating - row.rating).abs() < 50)).any()
        place = {"xytext": (-7, 5), "ha": "right"} if is_crowded else {"xytext": (7, 5), "ha": "left"}
        ax.annotate(model, (row.cpu_s, row.rating), textcoords="offset points", color=colour, fontsize=9, **place)
    ax.set(xscale="log", xlabel="CPU seconds of a fit (median over tables, one thread)", ylabel="Elo rating, by loss")
    ax.grid(color="#e2e8f0", linewidth=0.8)
    ax.set_axisbelow(True)
    ax.spines[["top", "right"]].set_visible(False)
    ax.margins(x=0.15)
    ax.xaxis.set_major_formatter("{x:g}")
    figure.savefig(path, dpi=160)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", type=Path, nargs="+")
    parser.add_argument("--picture", type=Path)
    args = parser.parse_args()
    ratings = rate_with_intervals(read_results(args.results))
    print(ratings.round({"rating": 0, "low": 0, "high": 0, "cpu_s": 1}).to_string())
    if args.picture:
        draw(ratings, args.picture)


if __name__ == "__main__":
    main()
