"""What a search tells while it runs."""

import pytest

from sknn.model_selection.progress import Progress, make_bar


def calls(candidates=2, folds=2, verbose=0):
    return [
        {"candidate_progress": (c, candidates), "split_progress": (f, folds), "verbose": verbose}
        for c in range(candidates)
        for f in range(folds)
    ]


def test_a_candidate_is_finished_and_compared_with_all_of_its_folds():
    progress = Progress(calls())
    progress.update(0, {"test_scores": 0.9})
    assert (progress.best, progress.n_finished) == (None, 0)
    progress.update(1, {"test_scores": 0.7})
    assert progress.best == (pytest.approx(0.8), 0)
    progress.update(2, {"test_scores": 0.9})
    progress.update(3, {"test_scores": 0.8})
    assert progress.best == (pytest.approx(0.85), 1)
    assert progress.n_finished == 2


def test_scores_that_cannot_be_compared_are_counted_only():
    progress = Progress(calls())
    for place, scores in enumerate([{"a": 1.0}, {"a": 1.0}, float("nan"), 0.5]):
        progress.update(place, {"test_scores": scores})
    assert (progress.best, progress.n_finished) == (None, 2)
    progress = Progress([{}, {}])
    progress.update(0, [1, 2, 3])  # predictions of cross_val_predict
    assert progress.n_finished == 0


def test_an_interrupt_names_the_finished_candidates():
    progress = Progress(calls(candidates=3))
    for place in (0, 1, 4, 5):
        progress.update(place, {"test_scores": 0.5})
    with pytest.warns(UserWarning, match=r"2 of 3 candidates are finished \(0, 2\)"):
        progress.warn_of_interrupt()


def test_the_bar_is_only_for_verbose_searches(capsys, monkeypatch):
    with Progress(calls()) as quiet:
        quiet.update(0, {"test_scores": 0.9})
    assert capsys.readouterr() == ("", "")
    with Progress(calls(verbose=1)) as verbose:
        for place in range(4):
            verbose.update(place, {"test_scores": 0.9, "group": place // 2})
    out = capsys.readouterr().out
    assert "2 groups: 100%" in out
    assert "best=0.9, candidate=0" in out
    monkeypatch.setitem(__import__("sys").modules, "tqdm.auto", None)
    assert make_bar(3) is None
