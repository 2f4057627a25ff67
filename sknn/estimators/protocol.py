"""Implement scikit-learn's protocol besides fit and predict: parameters, tags, clones, pickles, HTML."""

import copy
import difflib
from collections.abc import Callable
from typing import Any, ClassVar, Self

from sklearn.base import BaseEstimator, _clone_parametrized
from sklearn.utils._param_validation import InvalidParameterError, StrOptions
from skorch.callbacks import Callback

from sknn.estimators.html import described
from sknn.history.html import training_html
from sknn.training.callbacks import can_be_pickled, copy_callback, listed, name_of
from sknn.training.net import TrainingNet
from sknn.training.state import move_net, net_from_state, net_to_state
from sknn.utils.warnings import warn

# Names of our options in other libraries.
ALIASES = {
    "swish": "silu",
    "sigmoid": "logistic",
    "linear": "identity",
    "mae": "absolute_error",
}


class SklearnProtocol(BaseEstimator):
    """An estimator with a net, without its fit and predict."""

    module: Any
    callbacks: Any
    device_: Any
    history_: list[dict[str, Any]]
    n_iter_: int
    net_: TrainingNet
    _parameter_constraints: dict[str, list]
    _known_names: ClassVar[tuple[Any, list[str]]]  # the constructor, and the names of its parameters
    _subclass_hooks: ClassVar[list[Callable[[type], None]]] = []  # called with each subclass of our estimators

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        for hook in SklearnProtocol._subclass_hooks:
            hook(cls)

    def __sklearn_is_fitted__(self) -> bool:
        return "net_" in self.__dict__

    def _validate_params(self) -> None:
        try:
            super()._validate_params()
        except InvalidParameterError as error:
            raise InvalidParameterError(f"{error}{self._nearest()}") from None

    def _nearest(self) -> str:
        """Return ' Did you mean ...?' for the first parameter with an invalid string, or ''."""
        for name, constraints in self._parameter_constraints.items():
            value = getattr(self, name)
            options = {o for c in constraints if isinstance(c, StrOptions) for o in c.options}
            if isinstance(value, str) and options and value not in options:
                name_or_alias = ALIASES.get(value.lower(), value.lower())
                close = difflib.get_close_matches(name_or_alias, sorted(options), 1)
                return f" Did you mean {name}={close[0]!r}?" if close else ""
        return ""

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        tags.input_tags.allow_nan = True
        tags.input_tags.string = True
        tags.input_tags.categorical = True
        tags.input_tags.three_d_array = self.module is not None
        return tags

    @classmethod
    def _get_param_names(cls) -> list[str]:
        """Return scikit-learn's result, cached: it inspects the signature, and every clone and check calls it."""
        known = cls.__dict__.get("_known_names")
        if known is None or known[0] is not cls.__init__:
            known = cls._known_names = (cls.__init__, super()._get_param_names())
        return list(known[1])

    def __sklearn_clone__(self) -> Self:
        """Return an unfitted estimator with the same parameters; its callbacks are copies with the same writers."""
        without_callbacks = type(self).__new__(type(self))
        without_callbacks.__dict__ = self.__dict__ | {"callbacks": None}
        cloned = _clone_parametrized(without_callbacks)
        if self.callbacks is not None:
            copies = [copy_callback(callback) for callback in listed(self.callbacks)]
            cloned.callbacks = copies[0] if isinstance(self.callbacks, Callback) else copies
        return cloned

    def _get_params_html(self, *args: Any, **kwargs: Any) -> Any:
        return described(super()._get_params_html(*args, **kwargs))

    def _get_fitted_attr_html(self, *args: Any, **kwargs: Any) -> Any:
        return described(super()._get_fitted_attr_html(*args, **kwargs))

    def _html_repr(self) -> str:
        """Return scikit-learn's HTML, and below it that of the training, for a notebook."""
        html = super()._html_repr()
        if "net_" not in self.__dict__ or not self.net_.history:
            return html
        return html + training_html(self.history_, self.n_iter_, self.net_.module_.kinds, self.member_weights_)

    def __getstate__(self) -> dict[str, Any]:
        state = super().__getstate__() | {"callbacks": self._callbacks_to_pickle()}
        if "net_" in state:
            state = {name: value for name, value in state.items() if name != "net_"} | {"_net": net_to_state(self)}
        return state

    def _callbacks_to_pickle(self) -> Any:
        """Return the parameter `callbacks` without those that can't be pickled, and warn about these."""
        callbacks = listed(self.callbacks)
        lost = [callback for callback in callbacks if not can_be_pickled(callback)]
        if not lost:
            return self.callbacks
        warn(
            f"callbacks {', '.join(map(name_of, lost))} can't be pickled, so the copy is without them; give them to it "
            "by set_params(callbacks=...)."
        )
        return [callback for callback in callbacks if callback not in lost]

    def __setstate__(self, state: dict[str, Any]) -> None:
        net = state.get("_net")
        super().__setstate__({name: value for name, value in state.items() if name != "_net"})
        if net is not None:
            self.net_ = net_from_state(self, net)

    def __deepcopy__(self, memo: dict) -> Self:
        """Return a copy on the same device; an unpickled estimator is on the CPU."""
        copied = type(self).__new__(type(self))
        memo[id(self)] = copied
        copied.__setstate__(copy.deepcopy(self.__getstate__(), memo))
        if "net_" in self.__dict__:
            move_net(copied.net_, self.device_)
        return copied
