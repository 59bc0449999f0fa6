import base64
from types import SimpleNamespace

from PIL import Image
from self_contained import (
    MATHJAX_EXTENSIONS,
    MATHJAX_FILE,
    MATHJAX_FONTS,
    lazy_figures,
    mathjax_folder,
)


def test_mathjax_has_what_is_copied():
    assert (mathjax_folder() / MATHJAX_FILE).is_file()
    assert list((mathjax_folder() / MATHJAX_FONTS).glob("*.woff"))
    assert (mathjax_folder() / MATHJAX_EXTENSIONS / "boldsymbol.js").is_file()


def test_figures_get_their_size_and_wait(tmp_path):
    Image.new("RGB", (30, 20)).save(tmp_path / "a.png")
    app = SimpleNamespace(
        env=SimpleNamespace(images={"a.png": (set(), "a1.png")}), srcdir=tmp_path, outdir=tmp_path
    )
    data = base64.b64encode((tmp_path / "a.png").read_bytes()).decode()
    context = {
        "body": f'<img alt="" src="../_images/a1.png"><img src="data:image/png;base64,{data}">'
        '<img loading="eager" src="b.png">',
        "pathto": lambda name, _: f"../{name}",
    }
    lazy_figures(app, "page", "page.html", context, None)
    first, second, third = context["body"].replace("<img", "\n<img").split("\n")[1:]
    size = 'width="30" height="20"'
    assert first == f'<img loading="lazy" decoding="async" {size} alt="" src="../_images/a1.png">'
    [stored] = (tmp_path / "_images").iterdir()
    assert second == f'<img loading="lazy" decoding="async" src="../_images/{stored.name}">'
    assert stored.read_bytes() == (tmp_path / "a.png").read_bytes()
    assert third == '<img loading="eager" src="b.png">'
