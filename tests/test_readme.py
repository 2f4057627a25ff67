"""Run the code of README.md and the guides, and compare its output with the output shown there.

The blocks of a page run in order, in one namespace. A text block directly after a python block shows that block's
output; `...` matches anything, as in a doctest. The commands of docs/command_line.md run after its python blocks. The
numbers of a training and its curve depend on the machine, so only the other parts of their output are compared.
"""

import contextlib
import doctest
import io
import re
import shlex
import subprocess
from pathlib import Path

import pytest

from sknn.cli import main

ROOT = Path(__file__).parent.parent
PAGES = [
    "README.md",
    "docs/user_guide.md",
    "docs/export.md",
    "docs/deploying.md",
    "docs/monitoring.md",
    "docs/watching.md",
    "docs/saving.md",
    "docs/command_line.md",
]
BLOCK = re.compile(r"^```python\n(.*?)^```\n(?:\n```text\n(.*?)^```\n)?", re.MULTILINE | re.DOTALL)
CONSOLE = re.compile(r"^```console\n(.*?)^```", re.MULTILINE | re.DOTALL)
NUMBER = re.compile(r"\d[\w.,+]*")
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


def commands(page):
    """Return the commands of the console blocks, and the output that is shown for each."""
    text = "".join(CONSOLE.findall((ROOT / page).read_text()))
    return [block.partition("\n")[::2] for block in text.removeprefix("$ ").split("\n$ ")]


def run_command(command):
    """Run a command, in this process if it is one of sknn; return what it prints on stdout and stderr."""
    if not command.startswith("sknn "):
        return subprocess.run(shlex.split(command), capture_output=True, text=True, check=True).stdout
    out = io.TextIOWrapper(io.BytesIO(), encoding="utf-8")
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(out):
        main(shlex.split(command)[1:])
    return out.buffer.getvalue().decode()


def without_numbers(output):
    """Return the words of each line, without the lines of a curve."""
    return [NUMBER.sub("#", line).split() for line in output.splitlines() if not re.search("[┤│└]", line)]


def test_the_commands_of_the_page_print_the_shown_output(tmp_path, monkeypatch):
    page = "docs/command_line.md"
    monkeypatch.chdir(tmp_path)
    for line, code, _ in blocks(page):
        run_block(page, line, code, {})
    for command, shown in commands(page):
        assert without_numbers(run_command(command)) == without_numbers(shown), command


@pytest.mark.parametrize("page", PAGES)
def test_every_python_block_of_a_page_is_run(page):
    assert len(blocks(page)) == (ROOT / page).read_text().count("```python") > 0


@pytest.mark.parametrize(
    "page",
    [
        *PAGES,
        "docs/design.md",
        "CONTRIBUTING.md",
        "CHANGELOG.md",
        "docs/tracking.md",
        "docs/mlops.md",
        "docs/serving.md",
    ],
)
def test_linked_files_exist(page):
    path = ROOT / page
    links = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", path.read_text())

    assert [link for link in links if not (path.parent / link).exists()] == []
