"""`sknn info`: what it says about each kind of model, and its errors."""

import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import sknn
from sknn.cli import main
from sknn.inspection import summary
from tests.cli.common import CUSTOMERS, sknn_command
from tests.common import TINY


@pytest.mark.service
def test_a_saved_model_shows_its_task_network_parameters_versions_and_columns(customers):
    done = sknn_command("info", "m.sknn", folder=customers.folder)

    assert (done.returncode, done.stderr) == (0, "")
    assert "  model       NeuralClassifier: 2 members, " in done.stdout
    assert "  members     batch norm: 1 member, weight 0." in done.stdout
    assert "  task        classification of churn: no, yes (2 classes)\n" in done.stdout
    assert "hidden_layer_sizes=8, max_iter=5, random_state=0, validation_fraction=0.1765" in done.stdout
    assert f"  written by  sknn {sknn.__version__}, python 3." in done.stdout
    assert "columns (3)\n  age    number\n  zip    category  3 levels: 0150, 0187, 1201\n  spend  number" in done.stdout


def test_an_exported_model_shows_its_sample_and_the_ranges_of_columns(customers, capsys):
    assert main(["info", str(customers.folder / "m.onnx")]) == 0

    printed = capsys.readouterr().out
    assert "  model       NeuralClassifier\n" in printed
    assert "  task        classification of churn: no, yes (2 classes)\n" in printed
    assert "  sample      120 rows\n" in printed
    assert f"  age    number    {CUSTOMERS['age'].min()} to {CUSTOMERS['age'].max()}\n" in printed
    assert "  zip    category  3 levels: 0150, 0187, 1201\n" in printed


@pytest.mark.parametrize(
    ("final", "title"),
    [(sknn.NeuralClassifier(**TINY), "NeuralClassifier: "), (LogisticRegression(), "Pipeline\n")],
)
def test_a_pipeline_shows_its_steps(final, title, tmp_path, capsys):
    pipeline = make_pipeline(StandardScaler(), final).fit(CUSTOMERS[["age", "spend"]], CUSTOMERS["churn"])
    sknn.save(pipeline, tmp_path / "p.sknn")
    assert main(["info", str(tmp_path / "p.sknn")]) == 0

    printed = capsys.readouterr().out
    assert f"  model       {title}" in printed
    assert f"steps       standardscaler: StandardScaler, {type(final).__name__.lower()}: " in printed
    assert "columns (2)\n  age\n  spend\n" in printed


def test_the_kinds_of_members_are_shown_with_their_weights(tmp_path, capsys):
    model = sknn.NeuralClassifier(**TINY | {"ensemble_size": 3}).fit(CUSTOMERS[["age", "spend"]], CUSTOMERS["churn"])
    sknn.save(model, tmp_path / "m.sknn")
    assert main(["info", str(tmp_path / "m.sknn")]) == 0

    shares = model.member_weights_[:2].sum(), model.member_weights_[2]
    kinds = "batch norm: 2 members, weight {:.2f}; piecewise linear: 1 member, weight {:.2f}".format(*shares)
    printed = capsys.readouterr().out
    assert f"  model       {summary(model).title}\n  members     {kinds}\n" in printed


def test_many_classes_and_missing_values_are_abbreviated(tmp_path, capsys):
    table = CUSTOMERS[["age", "spend"]].where(CUSTOMERS["age"] > 25)
    sknn.save(sknn.NeuralClassifier(**TINY).fit(table, CUSTOMERS.index % 12), tmp_path / "m.sknn")
    assert main(["info", str(tmp_path / "m.sknn")]) == 0

    printed = capsys.readouterr().out
    assert "classification: 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, ... (12 classes)" in printed
    assert "  age    number  some are missing\n" in printed


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("m.sknn", b"hello", "'m.sknn' can't be loaded: it was not saved by sknn; its format is unknown."),
        ("m.sknn", b"", "'m.sknn' can't be loaded: it is empty."),
        ("m.onnx", b"hello", "model='m.onnx' is not an ONNX model that ONNX Runtime "),
        ("m.onnx", None, "m.onnx: No such file or directory"),
        ("m.sknn", None, "m.sknn: No such file or directory"),
        (".", None, ". is a folder; give a .sknn or .onnx file"),
    ],
)
def test_errors_are_one_line(name, content, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    if content is not None:
        (tmp_path / name).write_bytes(content)

    assert main(["info", name]) == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert err.startswith(f"sknn info: error: {message}")
