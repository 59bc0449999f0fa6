import io
import json
import zipfile
from pathlib import Path

import pytest
from commands import PLACEHOLDER, titles, wheel_name
from docutils import nodes
from editions import build_wheel
from sphinx.application import Sphinx
from sphinx.util.docutils import docutils_namespace, patch_docutils

from tests.book.conftest import ROOT

PAGE = """# P

```{clone}
make venv   # makes .venv ｜ 创建 .venv
make book
```

```{wheel}
```
"""


def page(folder: Path, edition: str, **settings) -> nodes.document:
    (folder / "index.md").write_text(PAGE, encoding="utf-8")
    settings |= {
        "extensions": ["myst_nb", "bilingual", "commands"],
        "nb_execution_mode": "off",
        "bilingual_edition": edition,
    }
    folders = (folder, None, folder / "_build", folder / "_build" / "trees")
    with patch_docutils(), docutils_namespace():
        app = Sphinx(*folders, "dummy", settings, status=None, warning=io.StringIO(), freshenv=True)
        app.build(force_all=True)
        return app.env.get_doctree("index")


@pytest.mark.parametrize(
    ("edition", "comment"), [("en", "makes .venv"), ("zh", "创建 .venv"), ("both", "｜ 创建 .venv")]
)
def test_the_clone_names_the_repository(tmp_path, edition, comment):
    url = "https://github.com/teacher/fork"
    [block] = page(tmp_path, edition, html_theme_options={"repository_url": url}).findall(
        nodes.literal_block
    )
    first, second, third, fourth = block.astext().splitlines()
    assert (first, second, fourth) == (f"git clone {url}", "cd fork", "make book")
    assert third.startswith("make venv   # ") and third.endswith(comment)


def test_without_an_address_there_is_a_placeholder(tmp_path):
    [block] = page(tmp_path, "en").findall(nodes.literal_block)
    assert block.astext().startswith(f"git clone {PLACEHOLDER}\ncd NAME\n")


@pytest.mark.parametrize(("edition", "up"), [("both", ""), ("en", "../"), ("zh", "../")])
def test_the_wheel_is_linked_in_the_site_alone(tmp_path, edition, up):
    assert not list(page(tmp_path, edition).findall(nodes.reference))
    site = page(tmp_path, edition, bilingual_editions=["both", "en", "zh"])
    [link] = site.findall(nodes.reference)
    assert link["refuri"] == up + wheel_name(ROOT)


@pytest.mark.slow
def test_the_wheel_holds_the_package(tmp_path):
    build_wheel(ROOT, tmp_path)
    [wheel] = tmp_path.iterdir()
    assert wheel.name == wheel_name(ROOT)
    names = set(zipfile.ZipFile(wheel).namelist())
    assert {"segedu/__init__.py", "segedu/viz/fonts/SegeduSansSC-Regular.otf"} <= names
    assert "segedu/models/trained/scenes/mask_rcnn_tiny.pt" in names


def test_exercises_are_drawn_from_the_notebooks():
    chapter = json.loads((ROOT / "chapters/02-semantic/02-unet.ipynb").read_text(encoding="utf-8"))
    found = dict(titles(chapter))
    assert [*found] == ["unet-1", "unet-2", "unet-3", "unet-4"]
    assert found["unet-4"] == "Who decides the answer? (medium) ｜ 答案由谁决定？（中等）"
