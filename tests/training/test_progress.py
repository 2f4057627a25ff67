"""A fit prints nothing, a progress bar, or lines: in terminals, in files and in parallel searches."""

import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import termios
import warnings

import pytest
from joblib import parallel_config
from sklearn.datasets import load_iris
from sklearn.model_selection import cross_val_score
from skorch.callbacks import Callback

from sknn import NeuralClassifier
from sknn.model_selection import GridSearchCV
from sknn.training import progress
from sknn.training.progress import as_text, heading

X, y = load_iris(return_X_y=True)
QUICK = {"hidden_layer_sizes": 8, "max_iter": 5, "ensemble_size": 2, "random_state": 0}

PROGRAM = """
from sklearn.datasets import load_iris
from sknn import NeuralClassifier
NeuralClassifier(8, max_iter=5, ensemble_size=2, random_state=0, verbose={verbose}).fit(*load_iris(return_X_y=True))
"""


def fit(verbose, **params):
    return NeuralClassifier(**QUICK | params, verbose=verbose).fit(X, y)


def terminal_output(verbose):
    """Run a program in a terminal, and return what it prints."""
    terminal, program_side = pty.openpty()
    fcntl.ioctl(program_side, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 120, 0, 0))  # rows and columns
    command = [sys.executable, "-c", PROGRAM.format(verbose=verbose)]
    with subprocess.Popen(command, stdout=program_side, env=os.environ | {"TERM": "xterm-256color"}) as process:
        os.close(program_side)
        parts = []
        try:
            while part := os.read(terminal, 4096):
                parts.append(part)
        except OSError:  # the program has ended
            pass
    os.close(terminal)
    assert process.returncode == 0
    return b"".join(parts).decode()


def test_a_fit_is_quiet_by_default(capsys):
    fit(0)

    assert capsys.readouterr() == ("", "")


def test_verbose_1_shows_a_bar_with_losses_metrics_and_the_time_left(capsys):
    fit(1, metrics=["accuracy"])
    out, err = capsys.readouterr()
    last = out.rstrip("\n").split("\r")[-1]

    assert err == ""
    assert re.match(r"2 networks: 100%\|█{20}\| 5/5 epochs \[\d+:\d\d<00:00, ", last)
    assert [part.partition("=")[0] for part in last.partition("<")[2].split(", ")[1:]] == [
        *("train_loss", "valid_loss", "train_accuracy", "valid_accuracy"),
    ]
    assert out.count("\n") == 1


def test_a_bar_in_a_file_is_not_redrawn_in_every_epoch(capsys, monkeypatch):
    monkeypatch.setattr(progress, "LOG_SECONDS", 3600.0)  # however slow the machine is
    fit(1, max_iter=40, n_iter_no_change=40)

    assert capsys.readouterr().out.count("\r") <= 3


def test_verbose_true_shows_a_bar(capsys):
    fit(True)

    assert "5/5 epochs" in capsys.readouterr().out


def test_verbose_2_prints_a_line_per_epoch_under_a_heading(capsys):
    clf = fit(2)
    first, second, *lines = capsys.readouterr().out.splitlines()

    assert first.split() == ["train", "valid", "learning"]
    assert second.split() == ["epoch", "loss", "loss", "gap", "rate", "seconds"]
    assert [line.split()[:3] for line in lines] == [
        [str(row["epoch"]), as_text(row["train_loss"]), as_text(row["valid_loss"])] for row in clf.history_
    ]


def test_the_best_epoch_so_far_is_marked(capsys):
    clf = fit(2, max_iter=15, n_iter_no_change=15, learning_rate_init=0.3)
    losses = [row["valid_loss"] for row in clf.history_]
    marked = [line.endswith("*") for line in capsys.readouterr().out.splitlines()[2:]]

    assert marked == [loss == min(losses[: i + 1]) for i, loss in enumerate(losses)]
    assert not all(marked)


def test_with_scoring_the_epoch_with_the_best_score_is_marked(capsys):
    clf = fit(2, max_iter=12, n_iter_no_change=12, scoring="accuracy")
    scores = [row["valid_score"] for row in clf.history_]
    marked = [line.endswith("*") for line in capsys.readouterr().out.splitlines()[2:]]

    assert marked == [score > max(scores[:i], default=-1) for i, score in enumerate(scores)]


def test_further_calls_of_partial_fit_print_no_new_heading(capsys):
    clf = NeuralClassifier(**QUICK, verbose=2)
    for _ in range(3):
        clf.partial_fit(X, y, classes=[0, 1, 2])

    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == ["train", "epoch", "1", "2", "3"]


def test_values_that_a_callback_records_are_shown(capsys):
    class RecordsNorm(Callback):
        def on_epoch_end(self, net, **kwargs):
            net.history.record("norm", 1.5)

    fit(2, callbacks=[RecordsNorm()])

    assert "norm" in capsys.readouterr().out.splitlines()[1].split()


def test_without_held_out_rows_only_the_training_loss_is_shown(capsys):
    fit(2, early_stopping=False)

    assert capsys.readouterr().out.splitlines()[1].split() == ["epoch", "loss", "rate", "seconds"]


def test_lbfgs_prints_the_iterations_of_one_network_after_the_other(capsys):
    with warnings.catch_warnings(action="ignore"):  # five iterations are too few to converge
        fit(2, solver="lbfgs")
    out = capsys.readouterr().out.splitlines()

    assert [line.split()[:2] for line in out[2:]] == [[str(m), str(i)] for m in (1, 2) for i in range(1, 6)]
    assert out[7].endswith("*")


@pytest.mark.slow
def test_in_a_terminal_lines_have_colours():
    assert "5/5 epochs" in terminal_output(1)
    lines = terminal_output(2)
    assert "\x1b[1m" in lines  # the heading is bold
    assert "\x1b[32m      1 " in lines  # the first epoch is green, as the best so far


def test_without_tqdm_lines_are_printed_instead_of_a_bar(capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "tqdm", None)
    fit(1)

    assert len(capsys.readouterr().out.splitlines()) == 7


def test_a_cross_validation_prints_a_line_per_fit_and_parallel_workers_print_none(capfd):
    clf = NeuralClassifier(**QUICK, verbose=1)
    cross_val_score(clf, X, y, cv=3)
    assert capfd.readouterr().out.count("\n") == 3

    cross_val_score(clf.set_params(verbose=2), X, y, cv=3, n_jobs=2)
    assert capfd.readouterr().out == ""

    with parallel_config("threading", n_jobs=2):
        cross_val_score(clf, X, y, cv=3)
    assert capfd.readouterr().out == ""


def test_jointly_trained_networks_of_a_search_share_one_bar(capsys):
    clf = NeuralClassifier(**QUICK, verbose=1)
    GridSearchCV(clf, {"alpha": [0, 1]}, cv=3, refit=False).fit(X, y)

    out = capsys.readouterr().out
    assert out.count("\n") == 1
    assert "12 networks: 100%" in out


def test_verbose_does_not_change_the_training(capsys):
    assert [row["train_loss"] for row in fit(2).history_] == [row["train_loss"] for row in fit(0).history_]


@pytest.mark.parametrize(
    ("value", "text"),
    [(3, "3"), (0.123456, "0.1235"), (0.0, "0.0000"), (1e-5, "1.0e-05"), (123456.0, "1.2e+05"), (None, "")],
)
def test_a_value_is_written_in_at_most_seven_characters(value, text):
    assert as_text(value) == text
    assert len(text) <= 7


def test_a_heading_has_two_lines_of_the_same_width():
    assert heading("train_balanced_accuracy") == ("            train", "balanced_accuracy")
    assert heading("gap") == ("       ", "    gap")
