"""Tables of parameters and attributes in a notebook, with descriptions and without links.

scikit-learn describes an entry where the pointer rests on it, but only for an estimator that has a page to link to.
"""

import re
from functools import partial
from typing import Any

LINK = re.compile(r'rel="noreferrer" target="_blank" href="[^"]*"')


def described(table: Any) -> Any:
    """A table (`ParamsDict` or `AttrsDict`) that shows its descriptions, which lead nowhere."""
    table.doc_link = "#"
    table._html_repr = partial(_without_links, table)
    return table


def _without_links(table: Any) -> str:
    return LINK.sub("", type(table)._html_repr(table))
