"""The recorder writes each epoch into the history: means, the best losses, and the values of the members."""

import pytest
from skorch.history import History

from sknn.training.recorder import EpochRecorder


def record_epochs(*epochs):
    """Return a recorder that has recorded these epochs, each a dict of the members' values by name."""
    recorder = EpochRecorder(History(), {})
    for values in epochs:
        recorder.begin({"batches": []})
        for name, of_members in values.items():
            recorder.write(name, of_members)
        recorder.finish(0.5)
    return recorder


def test_the_history_holds_the_mean_over_members():
    recorder = record_epochs({"valid_loss": [1.0, 2.0, 6.0], "valid_accuracy": [0.5, 0.75, 1.0]})
    assert recorder.history[-1, "valid_loss"] == 3.0
    assert recorder.history[-1, "valid_accuracy"] == 0.75


def test_the_values_of_several_members_are_kept_for_each_epoch():
    recorder = record_epochs({"train_loss": [1.0, 3.0]}, {"train_loss": [0.5, 2.0]})
    assert recorder.member_history == {1: {"member_train_loss": [1.0, 3.0]}, 2: {"member_train_loss": [0.5, 2.0]}}


def test_the_kept_values_do_not_change_with_the_list_that_was_written():
    values = [1.0, 3.0]
    recorder = record_epochs({"train_loss": values})
    values[0] = 9.0
    assert recorder.member_history[1]["member_train_loss"] == [1.0, 3.0]


def test_a_single_member_has_no_member_values():
    recorder = record_epochs({"train_loss": [1.0]})
    assert recorder.history[-1, "train_loss"] == 1.0
    assert recorder.member_history == {}


def test_a_loss_is_marked_where_its_mean_is_the_smallest_so_far():
    means = [3.0, 2.0, 2.0, 4.0, 1.0]
    recorder = record_epochs(*({"train_loss": [mean - 1, mean + 1], "valid_loss": [-mean]} for mean in means))
    assert recorder.history[:, "train_loss_best"] == [True, True, False, False, True]
    assert recorder.history[:, "valid_loss_best"] == [True, False, False, True, False]


def test_only_losses_are_marked():
    recorder = record_epochs({"valid_accuracy": [0.5]})
    assert "valid_accuracy_best" not in recorder.row


def test_a_nan_loss_is_not_the_best():
    recorder = record_epochs({"train_loss": [2.0]}, {"train_loss": [float("nan")]})
    assert recorder.history[:, "train_loss_best"] == [True, False]


def test_the_learning_rate_of_the_history_is_that_of_one_member():
    recorder = record_epochs({})
    recorder.write_learning_rates([0.1, 0.2, 0.3], shown=0.2)
    assert recorder.row["learning_rate"] == 0.2
    assert recorder.member_history[1] == {"member_learning_rate": [0.1, 0.2, 0.3]}


def test_without_an_appended_row_the_recorder_writes_into_the_last_one():
    history = History()
    history.new_epoch()
    recorder = EpochRecorder(history, {})
    recorder.begin()
    recorder.write("train_loss", [2.0])
    assert history[-1, "train_loss"] == 2.0
    assert len(history) == 1


def test_a_finished_epoch_has_its_duration_and_a_batch():
    recorder = record_epochs({"train_loss": [2.0]})
    assert recorder.history[-1, "dur"] == 0.5
    assert len(recorder.row["batches"]) == 1


@pytest.mark.parametrize("n_finished", [0, 2])
def test_drop_unfinished_removes_an_interrupted_epoch_only(n_finished):
    finished = [{"train_loss": [1.0, 3.0]}] * n_finished
    recorder = record_epochs(*finished)
    recorder.begin({"batches": []})
    recorder.write("train_loss", [0.0, 0.0])
    recorder.drop_unfinished()
    assert len(recorder.history) == n_finished
    assert list(recorder.member_history) == list(range(1, n_finished + 1))
    recorder.drop_unfinished()
    assert len(recorder.history) == n_finished


def test_drop_unfinished_does_nothing_before_the_first_epoch():
    recorder = EpochRecorder(History(), {})
    recorder.drop_unfinished()
    assert recorder.history == []
