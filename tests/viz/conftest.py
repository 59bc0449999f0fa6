import matplotlib
import matplotlib.pyplot as plt
import pytest


@pytest.fixture(autouse=True)
def own_style():
    """Every test draws off screen, in the book's style, and leaves nothing behind."""
    from segedu.viz import use_style

    plt.switch_backend("Agg")
    with matplotlib.rc_context():
        use_style()
        yield
    plt.close("all")
