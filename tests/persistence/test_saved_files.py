"""Saved files of every format version load, and predict the same. `tests/saved/make.py` writes them."""

import json
import runpy
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import sknn
from sknn.persistence import FORMAT_VERSION

SAVED = Path(__file__).parent.parent / "saved"
FILES = sorted(SAVED.glob("format_*/*.sknn"))
make = runpy.run_path(str(SAVED / "make.py"))


def test_there_are_files_of_every_format():
    assert sorted(folder.name for folder in SAVED.glob("format_*")) == [
        f"format_{n + 1}" for n in range(FORMAT_VERSION)
    ]
    assert len(FILES) >= 6 * FORMAT_VERSION


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.InconsistentVersionWarning")  # once they are old
@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_a_saved_file_predicts_the_same(path):
    content = json.loads(path.with_suffix(".json").read_text())
    rows = pd.DataFrame(**content["rows"])
    rows = rows.where(rows.notna(), np.nan)  # pandas 2 uses None for strings, which scikit-learn takes for a category
    rows = rows if content["is_frame"] else rows.to_numpy()

    model = sknn.load(path, **({"module": make["Net"]} if path.stem == "module" else {}))

    np.testing.assert_allclose(make["predicted"](model, rows), content["predicted"], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_a_saved_file_is_small(path):
    assert path.stat().st_size < 40_000
