"""What is uploaded to a package index, and what is said about it in other places, agree."""

from __future__ import annotations

import re
import sys
import tomllib
from importlib.metadata import packages_distributions
from itertools import chain
from pathlib import Path
from typing import Any

import pytest

import clearml_taskgroup
from tests.support.paths import REPOSITORY

PROJECT: dict[str, Any] = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())
SOURCE: str = PROJECT["project"]["urls"]["Source"]
LINK = re.compile(r"\]\(([^)\s]+)\)")
PAGES = ["README.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md"]


def anchors(page: str) -> set[str]:
    """The anchors of a page's headings, as GitHub and the documentation make them."""
    headings = re.findall(r"^#+ (.*)$", re.sub(r"^```.*?^```", "", page, flags=re.M | re.S), re.M)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page: str) -> None:
    """Links to files, and to headings in them; those of the documentation are checked when it is built."""
    for link in LINK.findall((REPOSITORY / page).read_text()):
        if link.startswith("https://"):
            continue
        name, _, anchor = link.partition("#")
        target = REPOSITORY / (name or page)
        assert target.exists(), link
        assert not anchor or anchor in anchors(target.read_text()), link


def test_readme_is_short() -> None:
    assert len((REPOSITORY / "README.md").read_text().splitlines()) <= 250


def test_readme_on_a_package_index_has_absolute_links() -> None:
    """The substitutions of the build leave no relative link, and lead to the files of the release."""
    hook = PROJECT["tool"]["hatch"]["metadata"]["hooks"]["fancy-pypi-readme"]
    text = (REPOSITORY / "README.md").read_text()
    paths = [link for link in LINK.findall(text) if not link.startswith("https://")]
    for substitution in hook["substitutions"]:
        text = re.sub(substitution["pattern"], substitution["replacement"], text)
    links = LINK.findall(text)
    files = f"{SOURCE}/blob/v$HFPR_VERSION/"
    pictures = f"{SOURCE}/v$HFPR_VERSION/".replace("//github.com/", "//raw.githubusercontent.com/")
    assert all(link.startswith("https://") for link in links)
    absolute = {(pictures if path.startswith("docs/pictures/") else files) + path for path in paths}
    assert absolute <= set(links)


def test_addresses_and_version_agree() -> None:
    citation = (REPOSITORY / "CITATION.cff").read_text()
    assert f"\nversion: {clearml_taskgroup.__version__}\n" in citation
    assert f"\nrepository-code: {SOURCE}\n" in citation
    assert all(url.startswith(SOURCE) for url in PROJECT["project"]["urls"].values())


def test_extras_are_in_the_readme() -> None:
    """Each is named as code, or is in a command that installs it."""
    text = (REPOSITORY / "README.md").read_text()
    for extra in PROJECT["project"]["optional-dependencies"]:
        assert re.search(rf"`{extra}`|'\.\[(\w+,)*{extra}(,\w+)*\]'", text), extra


@pytest.mark.parametrize("page", ["README.md", "docs/tutorial.md"])
def test_install_line_covers_the_code_of_a_page(page: str) -> None:
    """All that a page's code imports is of Python, a dependency, or an extra that the page installs."""
    text = (REPOSITORY / page).read_text()
    project, installs = PROJECT["project"], re.search(r"^pip install '\.\[([\w,]+)\]'$", text, re.M)
    assert installs is not None
    extras = [project["optional-dependencies"][extra] for extra in installs[1].split(",")]
    installed = {re.split("[^-\\w]", each)[0] for each in (*project["dependencies"], *chain(*extras))}
    for code in re.findall(r"^```python$(.*?)^```$", text, re.M | re.S):
        for module in re.findall(r"^(?:import|from) (\w+)", code, re.M):
            if module not in sys.stdlib_module_names and module != "clearml_taskgroup":
                assert installed.intersection(packages_distributions()[module]), module


def test_workflow_runs_each_part() -> None:
    """What GitHub runs, and what `.ci/run` runs on a clean checkout."""
    parts = re.search(r'^PARTS="(.*)"$', (REPOSITORY / ".ci" / "run").read_text(), re.M)
    workflow = (REPOSITORY / ".github" / "workflows" / "ci.yml").read_text()
    assert parts is not None
    assert f"part: [{', '.join(parts[1].split())}]\n" in workflow


def test_pictures_are_shown_and_small() -> None:
    """`make pictures` makes them; what a page shows is there, and nothing else."""
    folder = REPOSITORY / "docs" / "pictures"
    pictures = {path for path in folder.iterdir() if path.suffix in (".svg", ".webp")}
    pages = [REPOSITORY / "README.md", *(REPOSITORY / "docs").rglob("*.md")]
    shown = {
        (page.parent / link).resolve()
        for page in pages
        for link in LINK.findall(page.read_text())
        if "pictures/" in link and "_build" not in page.parts
    }
    assert shown == pictures
    assert all(path.stat().st_size < 150_000 for path in pictures)
    assert not any("http" in link for path in pictures if path.suffix == ".svg" for link in _loaded(path))


def _loaded(svg: Path) -> list[str]:
    """What a picture would load from elsewhere."""
    return re.findall(r"(?:url\(|href=)[\"']?([^\"')]+)", svg.read_text())
