"""Run the code of README.md and the guides, and compare its output with the output shown there.

The blocks of a page run in order, in one namespace. A text block directly after a python block shows that block's
output; `...` matches anything, as in a doctest.
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
    """Return the first line number, the code and the shown output of each python block."""
    text = (ROOT / page).read_text()
    return [(text.count("\n", 0, m.start()) + 2, m[1], m[2]) for m in BLOCK.finditer(text)]


def run_block(page, line, code, namespace):
    """Run a block with the page's line numbers; return its output."""
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        exec(compile("\n" * (line - 1) + code, page, "exec"), namespace)
    return out.getvalue()


@pytest.mark.parametrize("page", PAGES)
def test_the_code_of_a_page_prints_the_shown_output(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    namespace, errors = {"__name__": "__main__"}, []
    for line, code, shown in blocks(page):
        printed = run_block(page, line, code, namespace)
        if not doctest.OutputChecker().check_output(shown or "", printed, FLAGS):
            errors.append(f"{page}, line {line}: shows\n{shown or 'nothing'}\nbut prints\n{printed or 'nothing'}")

    assert errors == []


@pytest.mark.parametrize("page", PAGES)
def test_every_python_block_of_a_page_is_run(page):
    assert len(blocks(page)) == (ROOT / page).read_text().count("```python") > 0


@pytest.mark.parametrize("page", [*PAGES, "docs/design.md", "CONTRIBUTING.md", "CHANGELOG.md", "docs/tracking.md"])
def test_linked_files_exist(page):
    path = ROOT / page
    links = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", path.read_text())

    assert [link for link in links if not (path.parent / link).exists()] == []
