"""What `promote` has decided, and why: figures, a sentence, a table, and a record for the registry."""

import dataclasses
import json
from dataclasses import dataclass

from sknn.registry.comparison import Comparison
from sknn.registry.digests import shorten
from sknn.registry.losses import BASELINES


@dataclass(frozen=True)
class Decision:
    """The result of a comparison of two versions.

    Parameters
    ----------
    name : str
        The registered model.
    challenger : int
        The version that was to become champion.
    champion : int or None
        The champion that it was compared with; None if there was none, and it was compared with a baseline.
    promoted : bool
        Whether the challenger is better at the level asked for.
    dry_run : bool
        Whether the registry was left as it was.
    metric : str
    challenger_value, champion_value : float
        The metric of the challenger, and of the champion or the baseline.
    comparison : Comparison
        The improvement with its interval and p-value.
    alpha : float
    n_rows : int
    data_digest : str
        The digest of the rows.
    same_data : bool
        Whether the champion was registered with these held-out rows too.
    """

    name: str
    challenger: int
    champion: int | None
    promoted: bool
    dry_run: bool
    metric: str
    challenger_value: float
    champion_value: float
    comparison: Comparison
    alpha: float
    n_rows: int
    data_digest: str
    same_data: bool

    @property
    def sentence(self) -> str:
        """The decision in one sentence."""
        rival = f"the baseline ({BASELINES[self.metric]})" if self.champion is None else f"version {self.champion}"
        verdict = "is better" if self.promoted else "is not shown to be better"
        change = {
            (True, False): "it is the champion now",
            (True, True): "it would become the champion",
            (False, False): "the champion stays",
            (False, True): "the champion would stay",
        }[self.promoted, self.dry_run]
        if not self.promoted and self.champion is None:
            change = "there is still no champion"
        return f"Version {self.challenger} {verdict} than {rival} at level {self.alpha:g}, so {change}."

    def to_json(self) -> str:
        """Return the record of the decision."""
        return json.dumps(dataclasses.asdict(self) | {"sentence": self.sentence})

    def __str__(self) -> str:
        low, high = self.comparison.interval
        rival = "baseline" if self.champion is None else f"version {self.champion}, champion"
        lines = [
            (self.metric, "", f"{self.n_rows} rows, {shorten(self.data_digest)}"),
            (rival, f"{self.champion_value:.4f}", ""),
            (f"version {self.challenger}, challenger", f"{self.challenger_value:.4f}", ""),
            ("improvement", f"{self.comparison.improvement:+.4f}", f"from {low:+.4f} to {high:+.4f} ({self._level})"),
            ("p-value", f"{self.comparison.p_value:.4f}", f"level {self.alpha:g}"),
        ]
        table = [f"{name:<24}{value:>9}  {note}".rstrip() for name, value, note in lines]
        return "\n".join([self.name, *(f"  {line}" for line in table), *self._notes, self.sentence])

    @property
    def _level(self) -> str:
        return f"{100 * (1 - 2 * self.alpha):g} % interval"

    @property
    def _notes(self) -> list[str]:
        if self.same_data:
            return []
        return [
            f"Note: version {self.champion} was registered with other held-out rows, so it may have been trained "
            "on some of these, which favours it."
        ]
