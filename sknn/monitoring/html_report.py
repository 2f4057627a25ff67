"""A drift report as a page of HTML: one file, which loads no others, for light and dark screens."""

from collections.abc import Sequence
from html import escape

from sknn.history.html import COLOURS
from sknn.monitoring.drift_report import MUCH_DRIFT, SOME_DRIFT, ColumnDrift, DriftReport
from sknn.monitoring.pictures import picture

SECTIONS = (("The model's predictions", ("predictions", "spread")), ("The columns", ("columns",)))
TAGS = {"some": "drifted", "much": "drifted much"}
N_NAMED = 3  # columns in the verdict
FEW_ROWS = 200  # below which only large changes are significant
STYLE = f"""
:root {{ color-scheme: light dark; --page: #f6f7f9; --card: #fff; --text: #1c2330; --soft: #5c6675; --line: #e2e6ec;
  --reference: {COLOURS["train"]}; --live: {COLOURS["valid"]}; --much: #b42318; --some: #b25e02; --good: #1a7f4b; }}
@media (prefers-color-scheme: dark) {{ :root {{ --page: #12161d; --card: #1a2029; --text: #e6eaf0; --soft: #98a3b3;
  --line: #2b3340; --much: #ff8a7a; --some: #f2b35e; --good: #5fd39a; }} }}
* {{ box-sizing: border-box }}
body {{ margin: 0; background: var(--page); color: var(--text); font: 15px/1.5 system-ui, sans-serif }}
main {{ max-width: 1080px; margin: 0 auto; padding: 40px 24px 64px }}
h1 {{ margin: 4px 0 12px; font-size: 28px; line-height: 1.25; text-wrap: balance }}
h2 {{ margin: 36px 0 12px; font-size: 18px }}
.eyebrow {{ margin: 0; color: var(--soft); font-size: 13px; letter-spacing: .06em; text-transform: uppercase }}
.lead {{ max-width: 46em; margin: 0 0 8px; font-size: 16px }}
.verdict {{ padding: 24px 28px; background: var(--card); border: 1px solid var(--line); border-left: 6px solid;
  border-radius: 10px }}
.much {{ border-left-color: var(--much) }} .some {{ border-left-color: var(--some) }}
.none {{ border-left-color: var(--good) }}
dl {{ display: flex; flex-wrap: wrap; gap: 8px 36px; margin: 20px 0 0 }}
dt {{ color: var(--soft); font-size: 13px }} dd {{ margin: 0; overflow-wrap: anywhere }}
.legend {{ display: flex; gap: 20px; margin: 28px 0 -20px; color: var(--soft); font-size: 13px; justify-content: end }}
.legend span::before {{ content: ""; display: inline-block; width: 11px; height: 11px; margin-right: 6px;
  border-radius: 2px; background: currentColor; vertical-align: -1px }}
.legend .r::before {{ color: var(--reference) }} .legend .l::before {{ color: var(--live) }}
table {{ width: 100%; border-collapse: separate; border-spacing: 0; background: var(--card); border-radius: 10px;
  border: 1px solid var(--line) }}
table {{ table-layout: fixed }} th:nth-child(1) {{ width: 21% }} th:nth-child(2) {{ width: 34% }}
th:nth-child(3) {{ width: 23% }} th:nth-child(4) {{ width: 22% }}
th {{ padding: 10px 16px; color: var(--soft); font-size: 13px; font-weight: 500; text-align: left }}
td {{ padding: 16px; border-top: 1px solid var(--line); vertical-align: top }}
td {{ overflow-wrap: anywhere }} td:nth-child(2) svg {{ width: 100% }}
.name {{ font-weight: 600 }}
small {{ display: block; color: var(--soft); font-size: 12.5px }}
ul {{ margin: 0; padding: 0; list-style: none }}
.psi {{ font-size: 17px; font-weight: 600; font-variant-numeric: tabular-nums }}
.tag {{ display: inline-block; margin-left: 8px; padding: 0 8px; border: 1px solid; border-radius: 99px;
  font-size: 12px; font-weight: 500 }}
.tag.much {{ color: var(--much) }} .tag.some {{ color: var(--some) }}
svg {{ display: block; max-width: 100%; height: auto; font: 11px system-ui, sans-serif; fill: var(--soft) }}
.reference {{ fill: var(--reference) }} .live {{ fill: var(--live) }} .touch {{ fill: transparent }}
.axis {{ stroke: var(--soft); stroke-opacity: .5 }}
.notes {{ color: var(--soft); font-size: 13.5px; max-width: 60em }} .notes b {{ color: var(--text); font-weight: 600 }}
@media (max-width: 760px) {{ main {{ padding: 20px 12px 40px }} thead {{ display: none }} h1 {{ font-size: 23px }}
  table, tbody, tr, td {{ display: block }}
  td {{ padding: 4px 16px; border: 0 }} td:first-child {{ padding-top: 16px; border-top: 1px solid var(--line) }}
  td:last-child {{ padding-bottom: 16px }} tr:first-child td:first-child {{ border: 0 }} }}
@media print {{ body {{ background: none }} tr {{ break-inside: avoid }} }}
"""
NOTES = f"""
<p><b>PSI</b>, the population stability index, says how far two distributions are apart: less than {SOME_DRIFT} is
little, {MUCH_DRIFT} and more is much. A column has <b>drifted</b> if its PSI is at least {SOME_DRIFT} and the
difference is not chance: <b>p</b> is the chance of so large a difference without drift (chi-squared test), adjusted for
the number of columns. What has changed is said for columns with a small p only.</p>
<p><b>JS</b> is the Jensen-Shannon distance, from 0 to 1. <b>KS</b> is the largest difference of the cumulated shares
(Kolmogorov-Smirnov). <b>Shift</b> is how far the values have moved on average, in standard deviations of the reference
(Wasserstein distance).</p>
<p>The bins of numbers hold equally many rows of the reference, except for single values with many rows. Point at a bar
to see its shares.</p>
"""


def html_report(report: DriftReport, reference: str = "the reference", live: str = "the live data") -> str:
    """Return a drift report as a page of HTML, with pictures of both distributions of each column.

    Parameters
    ----------
    report : DriftReport
    reference, live : str
        What the page calls the two tables, for example by the names of their files.

    Returns
    -------
    str
        One file, which loads no others.

    Examples
    --------
    >>> from sknn.monitoring import DriftMonitor
    >>> monitor = DriftMonitor.from_reference({"age": range(18, 80)})
    >>> html_report(monitor.update({"age": range(18, 80)}).report()).startswith("<!DOCTYPE html>")
    True
    """
    facts = {
        "Live data": f"{live}, {_count(report.n_rows, 'row')}",
        "Reference": f"{reference}, {_count(report.reference_rows, 'row')}",
    }
    lead = "".join(f'<p class="lead">{escape(sentence)}</p>' for sentence in _explanation(report))
    sections = [_section(title, [c for c in report.columns if c.part in parts]) for title, parts in SECTIONS]
    title = escape(f"Drift of {live}")
    return f"""<!DOCTYPE html>
<html lang="en">
<head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title><style>{STYLE}</style></head>
<body><main>
<div class="verdict {_level(report.columns)}"><p class="eyebrow">Drift report</p><h1>{escape(_headline(report))}</h1>
{lead}
<dl>{"".join(f"<div><dt>{name}</dt><dd>{escape(text)}</dd></div>" for name, text in facts.items())}</dl></div>
<div class="legend"><span class="r">reference</span><span class="l">now</span></div>
{"".join(sections)}
<h2>How to read this page</h2><div class="notes">{NOTES}</div>
</main></body>
</html>
"""


def _count(n: int, singular: str) -> str:
    return f"{n:,} {singular}{'s' * (n != 1)}"


def _level(columns: Sequence[ColumnDrift]) -> str:
    """Return how much has drifted: "none", "some" or "much"."""
    effects = [column.psi for column in columns if column.drifted]
    return "none" if not effects else "much" if max(effects) >= MUCH_DRIFT else "some"


# --- The verdict --------------------------------------------------------------------------------------------------


def _headline(report: DriftReport) -> str:
    if not report.n_rows:
        return "There are no rows to compare yet."
    columns = [column for column in report.columns if column.part == "columns"]
    drifted = [column for column in columns if column.drifted]
    if drifted:
        look = "looks" if len(drifted) == 1 else "look"
        share = f"{len(drifted)} of {_count(len(columns), 'column')}"
        return f"The data have changed: {share} no longer {look} like the reference."
    if report.drifted:
        return "The data look like the reference, but the model's predictions have changed."
    return "The data still look like the reference."


def _explanation(report: DriftReport) -> list[str]:
    """Return the paragraphs below the headline."""
    if not report.n_rows:
        return []
    drifted = [column for column in report.columns if column.drifted]
    predictions = [column for column in report.columns if column.part == "predictions"]
    paragraphs = [_main_changes([column for column in drifted if column.part == "columns"])]
    if predictions:
        paragraphs.append(_prediction_sentence(max(predictions, key=lambda column: (column.drifted, column.psi))))
    if drifted:
        paragraphs.append(
            "The model has not learnt from data like these. Find out why they have changed, and compare its "
            "predictions with the true outcomes before you rely on them."
        )
    elif (n_rows := min(report.n_rows, report.reference_rows)) < FEW_ROWS:
        paragraphs.append(f"With {_count(n_rows, 'row')}, only large changes can be told from chance.")
    return paragraphs


def _prediction_sentence(column: ColumnDrift) -> str:
    if column.drifted:
        return f"The model's predictions have changed: {_changes(column)}."
    if column.changes:
        return f"The model's predictions have changed little: {_changes(column)}."
    return "The model's predictions are distributed as before."


def _main_changes(drifted: Sequence[ColumnDrift]) -> str:
    if not drifted:
        return "No column differs from the reference by more than chance and by enough to matter."
    named = ", ".join(f"{column.name} ({_changes(column)})" for column in drifted[:N_NAMED])
    n_more = len(drifted) - N_NAMED
    return f"Most of all: {named}{f', and {n_more} more' if n_more > 0 else ''}."


def _changes(column: ColumnDrift) -> str:
    return column.changes[0] if column.changes else "another distribution"


# --- The table ----------------------------------------------------------------------------------------------------


def _section(title: str, columns: Sequence[ColumnDrift]) -> str:
    """Return a table of columns, or nothing if there are none."""
    if not columns:
        return ""
    heads = "".join(f"<th>{head}</th>" for head in ("Column", "Shares of the rows", "What has changed", "Effect"))
    rows = "".join(map(_row, columns))
    return f"<h2>{title}</h2><table><thead><tr>{heads}</tr></thead><tbody>{rows}</tbody></table>"


def _row(column: ColumnDrift) -> str:
    changes = "".join(f"<li>{escape(text)}</li>" for text in column.changes)
    level = _level([column])
    tag = "" if level == "none" else f'<span class="tag {level}">{TAGS[level]}</span>'
    return f"""<tr>
<td><span class="name">{escape(column.name).replace("_", "_<wbr>")}</span><small>{column.kind}</small></td>
<td>{picture(column)}</td>
<td>{f"<ul>{changes}</ul>" if changes else "<small>nothing of note</small>"}</td>
<td><span class="psi">PSI {column.psi:.2f}</span>{tag}<small>{_details(column)}</small></td>
</tr>"""


def _details(column: ColumnDrift) -> str:
    """Return the other effects and the p-value."""
    effects = {
        "JS": column.jensen_shannon,
        "KS": column.kolmogorov_smirnov,
        "shift": column.wasserstein,
    }
    p = "p &lt; 0.001" if column.p_adjusted < 0.001 else f"p = {column.p_adjusted:.3f}"
    return " · ".join(f"{name} {value:.2f}" for name, value in effects.items() if value is not None) + f"<br>{p}"
