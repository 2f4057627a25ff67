"""Run each benchmark in a separate process, and write the results into docs/benchmarks.md.

`python -m benchmarks serving` runs one of the two parts: training, with predictions and memory, or serving.
"""

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
BLOCK = "<!-- {0} -->", "<!-- end of {0} -->"  # around what a part writes
CODE = "import json, sys; from benchmarks import {0}; print(json.dumps({0}.measure()))"


def run(name):
    """Run a benchmark on one thread; return its results."""
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
    """Return the processor's name, its number of cores, and the versions of the libraries."""
    names = [line.split(":")[1].strip() for line in _lines("/proc/cpuinfo") if line.startswith("model name")]
    versions = f"torch {torch.__version__}, scikit-learn {sklearn.__version__}, skorch {skorch.__version__}"
    return f"{names[0] if names else platform.processor()}, {os.cpu_count()} cores; {versions}"


def _lines(path):
    return Path(path).read_text().splitlines() if Path(path).exists() else []


def markdown_table(header, rows):
    """Return a Markdown table whose columns are right-aligned, except the first."""
    lines = [header, ["---", *["---:"] * (len(header) - 1)], *rows]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines)


def page(training, watching, prediction, growth):
    """Return the generated part of the page."""
    peers = ("scikit_learn", "skorch", "torch_loop")
    cases = [
        [name, f"{c['step_us']:,.0f} µs", *(f"{c[peer]:.1f}x" for peer in peers), f"{c['products']:.0%}"]
        for name, c in training["cases"].items()
    ]
    header = ["case", "sknn, per step", "scikit-learn", "skorch", "torch loop", "matrix products"]
    variations = [[name, f"{ratio:.2f}x"] for name, ratio in training["variations"].items()]
    watched = [[name, f"{w['relative_time']:.2f}x", f"{w['ms_per_epoch']:.2f} ms"] for name, w in watching.items()]
    predicted = [
        [label, f"{prediction[key]['one_row_us']:.0f} µs", f"{prediction[key]['many_rows_ms']:.1f} ms"]
        for label, key in (("sknn", "ours"), ("scikit-learn", "scikit_learn"))
    ]
    memory = growth["memory"]
    fit_memory = f"`fit` needs {memory['fit_mb']:.0f} MB of additional memory"
    return f"""Measured on: {machine()}. One thread.

{markdown_table(header, cases)}

{markdown_table(["first case with", "relative time"], variations)}

{markdown_table(["reference program's network, 200 epochs, with", "relative time", "extra time per epoch"], watched)}

{markdown_table(["`predict_proba`", "one row", "100,000 rows"], predicted)}

For a float32 table of {memory["table_mb"]:.0f} MB and 8 members, {fit_memory} (including the encoded table), and
predicting all rows needs {memory["predict_mb"]:.0f} MB.

![Seconds per epoch by number of rows](benchmarks.svg)
"""


def draw(growth, path):
    """Plot the seconds per epoch by the number of rows."""
    rows, seconds = zip(*((int(n), s) for n, s in growth["seconds_per_epoch"].items()), strict=True)
    fig, ax = plt.subplots(figsize=(6, 3.6), layout="constrained")
    ax.loglog(rows, seconds, "o-", color="tab:blue", label="measured")
    ax.loglog(rows, [seconds[-1] / rows[-1] * n for n in rows], ":", color="grey", label="proportional to the rows")
    ax.set(xlabel="rows", ylabel="seconds of an epoch", title="50 columns, 64 hidden units, batches of 512")
    ax.grid(alpha=0.3)
    ax.legend()
    fig.savefig(path, metadata={"Date": None})
    plt.close(fig)


def service_page(serving):
    """Return the generated part of the page about the service."""
    names = {"sknn": "`sknn serve`", "mlflow": "`mlflow models serve`"}
    single = [
        [
            names[name],
            f"{r['requests_per_second']:,.0f}",
            f"{r['requests_per_cpu_second']:,.0f}",
            f"{r['p50_ms']:.0f} ms",
            f"{r['p99_ms']:.0f} ms",
            r["errors"],
        ]
        for name, r in serving["single"].items()
    ]
    header = ["one row a request, 64 connections", "requests / s", "requests / CPU second", "p50", "p99", "errors"]
    wide, narrow = serving["batches"]["wide"], serving["batches"]["narrow"]
    batches = [[name, f"{wide[name]:,.0f}", f"{narrow[name]:,.0f}"] for name in wide]
    endurance = serving["endurance"]
    memory = f"{endurance['before_mb']:.0f} MB of memory before and {endurance['after_mb']:.0f} MB"
    return f"""Measured on: {machine()}. One process and one thread each.

{markdown_table(header, single)}

{endurance["requests"]:,} more requests to `sknn serve`: {endurance["errors"]} errors, and {memory} after.

{markdown_table(["100,000 rows in one request, rows / s", "the default ensemble", "with (64, 32)"], batches)}
"""


def training_part():
    """Return the tables of training, watching, prediction and memory, and draw the picture."""
    results = {name: run(name) for name in ("training", "watching", "prediction", "growth")}
    draw(results["growth"], PAGE.with_name("benchmarks.svg"))
    return page(**results)


def serving_part():
    """Return the tables of the service."""
    return service_page(run("serving"))


PARTS = {"training": ("results", training_part), "serving": ("results of the service", serving_part)}


def main(names):
    for name in names or PARTS:
        title, make = PARTS[name]
        begin, end = (mark.format(title) for mark in BLOCK)
        text = make()
        before, rest = PAGE.read_text().split(begin)
        PAGE.write_text(f"{before}{begin}\n\n{text}\n{end}{rest.split(end)[1]}")
        print(text)


if __name__ == "__main__":
    main(sys.argv[1:])
