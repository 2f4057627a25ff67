"""The progress of a search."""

import pytest

from sknn.model_selection.progress import Progress, make_bar


def calls(candidates=2, folds=2, verbose=0):
    return [
        {"candidate_progress": (c, candidates), "split_progress": (f, folds), "verbose": verbose}
        for c in range(candidates)
        for f in range(folds)
    ]


def test_a_candidate_is_finished_and_compared_after_all_of_its_folds():
    progress = Progress(calls())
    progress.update(0, {"test_scores": 0.9})
    assert (progress.best, progress.finished) == (None, [])
    progress.update(1, {"test_scores": 0.7})
    assert progress.best == (pytest.approx(0.8), 0)
    progress.update(2, {"test_scores": 0.9})
    progress.update(3, {"test_scores": 0.8})
    assert progress.best == (pytest.approx(0.85), 1)
    assert progress.finished == [0, 1]


def test_candidates_without_a_single_finite_score_are_counted_but_not_compared():
    progress = Progress(calls())
    for i, scores in enumerate([{"a": 1.0}, {"a": 1.0}, float("nan"), 0.5]):
        progress.update(i, {"test_scores": scores})
    assert (progress.best, progress.finished) == (None, [0, 1])
    progress = Progress([{}, {}])
    progress.update(0, [1, 2, 3])  # predictions of cross_val_predict
    assert progress.finished == []


def test_the_warning_of_an_interrupt_names_the_finished_candidates():
    progress = Progress(calls(candidates=3))
    for i in (0, 1, 4, 5):
        progress.update(i, {"test_scores": 0.5})
    with pytest.warns(UserWarning, match=r"2 of 3 candidates are finished \(0, 2\)"):
        progress.warn_of_interrupt()


def test_only_a_verbose_search_shows_a_bar(capsys, monkeypatch):
    with Progress(calls()) as quiet:
        quiet.update(0, {"test_scores": 0.9})
    assert capsys.readouterr() == ("", "")
    with Progress(calls(verbose=1)) as verbose:
        for i in range(4):
            verbose.update(i, {"test_scores": 0.9, "group": i // 2})
    out = capsys.readouterr().out
    assert "2 groups: 100%" in out
    assert "best=0.9, candidate=0" in out
    monkeypatch.setitem(__import__("sys").modules, "tqdm.auto", None)
    assert make_bar(3) is None
