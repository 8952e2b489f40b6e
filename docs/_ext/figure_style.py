"""One look of all figures that are drawn while the documentation is built."""

import matplotlib as mpl

FIGURE_STYLE = {
    "figure.figsize": (7.2, 4.0),
    "figure.constrained_layout.use": True,
    "font.size": 10,
    "axes.grid": True,
    "grid.alpha": 0.3,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": "medium",
    "legend.frameon": False,
    "savefig.dpi": 110,
}


def set_style(gallery_conf, name):
    """Begin a tutorial with this look; sphinx-gallery resets Matplotlib before."""
    mpl.rcParams.update(FIGURE_STYLE)
