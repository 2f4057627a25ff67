"""Run all benchmarks, each in a process of its own, and write what they find into docs/benchmarks.md."""

import json
import os
import platform
import subprocess
import sys
from pathlib import Path

import matplotlib
import sklearn
import skorch
import torch

matplotlib.use("svg")
from matplotlib import pyplot as plt

PAGE = Path(__file__).parents[1] / "docs" / "benchmarks.md"
BEGIN, END = "<!-- results -->", "<!-- end of results -->"
CODE = "import json, sys; from benchmarks import {0}; print(json.dumps({0}.measure()))"


def run(name):
    print(f"{name} ...", flush=True)
    one_thread = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
    done = subprocess.run(
        [sys.executable, "-c", CODE.format(name)],
        cwd=PAGE.parents[1],
        env=os.environ | one_thread,
        stdout=subprocess.PIPE,
        check=True,
        text=True,
    )
    return json.loads(done.stdout.splitlines()[-1])


def machine():
    """The processor's name, and the versions."""
    names = [line.split(":")[1].strip() for line in _lines("/proc/cpuinfo") if line.startswith("model name")]
    versions = f"torch {torch.__version__}, scikit-learn {sklearn.__version__}, skorch {skorch.__version__}"
    return f"{names[0] if names else platform.processor()}, {os.cpu_count()} cores; {versions}"


def _lines(path):
    return Path(path).read_text().splitlines() if Path(path).exists() else []


def rows_of(header, rows):
    lines = [header, ["---", *["---:"] * (len(header) - 1)], *rows]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines)


def page(training, watching, prediction, growth):
    """The part of the page between the marks."""
    peers = ("scikit_learn", "skorch", "written_by_hand")
    cases = [
        [name, f"{c['step_us']:,.0f} µs", *(f"{c[peer]:.1f}x" for peer in peers), f"{c['products']:.0%}"]
        for name, c in training["cases"].items()
    ]
    header = ["case", "a step", "scikit-learn", "skorch", "loop of torch", "of it, products"]
    more = [[name, f"{ratio:.2f}x"] for name, ratio in training["variations"].items()]
    watched = [[name, f"{w['takes']:.2f}x", f"{w['ms_per_epoch']:.2f} ms"] for name, w in watching.items()]
    predicted = [
        [label, f"{prediction[key]['one_row_us']:.0f} µs", f"{prediction[key]['many_rows_ms']:.1f} ms"]
        for label, key in (("sknn", "ours"), ("scikit-learn", "scikit_learn"))
    ]
    memory = growth["memory"]
    return f"""Measured on: {machine()}. One thread.

{rows_of(header, cases)}

{rows_of(["the first case with", "takes"], more)}

{rows_of(["the reference program's network, 200 epochs, with", "takes", "more per epoch"], watched)}

{rows_of(["`predict_proba`", "one row", "100,000 rows"], predicted)}

Memory beyond a float32 table of {memory["table_mb"]:.0f} MB, with 8 members: {memory["fit_mb"]:.0f} MB to fit (with
the encoded table), {memory["predict_mb"]:.0f} MB to predict all of its rows.

![Seconds of an epoch by number of rows](benchmarks.svg)
"""


def draw(growth, path):
    rows, seconds = zip(*((int(n), s) for n, s in growth["seconds_of_an_epoch"].items()), strict=True)
    fig, ax = plt.subplots(figsize=(6, 3.6), layout="constrained")
    ax.loglog(rows, seconds, "o-", color="tab:blue", label="measured")
    ax.loglog(rows, [seconds[-1] / rows[-1] * n for n in rows], ":", color="grey", label="proportional to the rows")
    ax.set(xlabel="rows", ylabel="seconds of an epoch", title="50 columns, 64 hidden units, batches of 512")
    ax.grid(alpha=0.3)
    ax.legend()
    fig.savefig(path, metadata={"Date": None})
    plt.close(fig)


def main():
    results = {name: run(name) for name in ("training", "watching", "prediction", "growth")}
    text = page(**results)
    draw(results["growth"], PAGE.with_name("benchmarks.svg"))
    before, rest = PAGE.read_text().split(BEGIN)
    PAGE.write_text(f"{before}{BEGIN}\n\n{text}\n{END}{rest.split(END)[1]}")
    print(text)


if __name__ == "__main__":
    main()
