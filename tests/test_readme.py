"""The code in README.md and the guides runs, and prints what is shown there.

The blocks of a page run in order, in one namespace.  A text block right after a python block shows what that block
prints; `...` there stands for anything, as in a doctest.
"""

import contextlib
import doctest
import io
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAGES = ["README.md", "docs/user_guide.md", "docs/export.md", "docs/deploying.md", "docs/watching.md", "docs/saving.md"]
BLOCK = re.compile(r"^```python\n(.*?)^```\n(?:\n```text\n(.*?)^```\n)?", re.MULTILINE | re.DOTALL)
FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


def blocks(page):
    """The line at which each python block starts, its code, and what it is said to print."""
    text = (ROOT / page).read_text()
    return [(text.count("\n", 0, m.start()) + 2, m[1], m[2]) for m in BLOCK.finditer(text)]


def printed_by(page, line, code, namespace):
    """Run a block as if it stood at its place in the page; return what it prints."""
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        exec(compile("\n" * (line - 1) + code, page, "exec"), namespace)
    return out.getvalue()


@pytest.mark.parametrize("page", PAGES)
def test_the_code_of_a_page_prints_what_is_shown(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    namespace, wrong = {"__name__": "__main__"}, []
    for line, code, shown in blocks(page):
        printed = printed_by(page, line, code, namespace)
        if not doctest.OutputChecker().check_output(shown or "", printed, FLAGS):
            wrong.append(f"{page}, line {line}: shows\n{shown or 'nothing'}\nbut prints\n{printed or 'nothing'}")

    assert wrong == []


@pytest.mark.parametrize("page", PAGES)
def test_a_page_has_no_python_block_that_is_not_run(page):
    assert len(blocks(page)) == (ROOT / page).read_text().count("```python") > 0


@pytest.mark.parametrize("page", [*PAGES, "docs/design.md", "CONTRIBUTING.md", "CHANGELOG.md", "docs/tracking.md"])
def test_links_to_files_lead_somewhere(page):
    path = ROOT / page
    links = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", path.read_text())

    assert [link for link in links if not (path.parent / link).exists()] == []
