"""The site: `sphinx-build -W -b html docs docs/_build`. Needs `pip install -e '.[docs]'`: the page of the API is made of the docstrings.

Pages link to files of the repository by their relative path, as GitHub wants it. In the site such a file is a download: MyST copies it
there, and warns where there is none, so that -W refuses a dead link, and the site needs no address of the repository. MyST does so for all
files but Markdown, which it takes for pages of the site: `setup` says `download` for those. Links to folders do not work.
"""

import re
import sys
import tomllib
from pathlib import Path

from sphinx.application import Sphinx

project = "tuner"
author = copyright = "The tuner authors"  # noqa: A001 - Sphinx's name
release = version = tomllib.loads((Path(__file__).parent.parent / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]

sys.path.insert(0, str(Path(__file__).parent.parent))  # a plain checkout
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
autodoc_member_order = "bysource"
autodoc_mock_imports = ["ray", "optuna", "wandb", "mlflow", "torchvision"]  # no docstring needs them, and Ray takes seconds
default_role = "code"  # one backtick in a docstring is code, as in Markdown
exclude_patterns = ["_build"]
myst_heading_anchors = 3  # links to headings, `page.md#heading`, as on GitHub
highlight_language = "text"
html_theme = "furo"
html_title = f"tuner {version}"
html_copy_source = False


def _downloads(_app: Sphinx, _page: str, source: list[str]) -> None:
    source[0] = re.sub(r"\[([^\]]+)\]\((\.\./[^)\s]+\.md)\)", r"{download}`\1 <\2>`", source[0])


def setup(app: Sphinx) -> None:
    app.connect("source-read", _downloads)
