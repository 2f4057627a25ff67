"""Show descriptions in the tables of parameters and attributes of scikit-learn's HTML, without links.

scikit-learn shows a description when the mouse is over an entry, but only if the estimator has a page to link to.
"""

import re
from functools import partial
from typing import Any

LINK = re.compile(r'rel="noreferrer" target="_blank" href="[^"]*"')


def described(table: Any) -> Any:
    """Make a table (`ParamsDict` or `AttrsDict`) show its descriptions, without links."""
    table.doc_link = "#"
    table._html_repr = partial(_without_links, table)
    return table


def _without_links(table: Any) -> str:
    return LINK.sub("", type(table)._html_repr(table))
