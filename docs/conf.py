"""How the documentation is built: ``make docs``, offline, warnings are errors."""

import os
import sys
from importlib.metadata import version as installed_version
from pathlib import Path

from skorch import NeuralNet

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE / "_ext"))

os.environ.setdefault("OMP_NUM_THREADS", "1")

project = "sktl"
author = "The sktl developers"
copyright = "The sktl developers"
release = installed_version("sktl")
version = ".".join(release.split(".")[:2])

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.intersphinx",
    "sphinx.ext.viewcode",
    "numpydoc",
    "myst_parser",
    "sphinx_copybutton",
    "sphinx_gallery.gen_gallery",
    "backbone_table",
    "command_help",
    "measured",
]

templates_path = ["_templates"]
exclude_patterns = [
    "_build",
    "_inventories",
    "conftest.py",
    "gallery",
    "**/GALLERY_HEADER.rst",
]
source_suffix = {".rst": "restructuredtext", ".md": "markdown"}
nitpicky = False
smartquotes = False
suppress_warnings = [
    # Names of other projects that no inventory here contains stay plain text.
    "ref.any",
    "ref.ref",
    "ref.term",
    "config.cache",  # sphinx-gallery keeps classes in its configuration
    "myst.header",  # model cards start at the heading level that suits their folder
]

autosummary_generate = True
autodoc_typehints = "none"
toc_object_entries_show_parents = "hide"
autodoc_member_order = "bysource"
numpydoc_show_class_members = False
numpydoc_class_members_toctree = False
numpydoc_xref_param_type = False

# Small inventories with the names that these pages link to, so that building needs no
# network. They are in Sphinx's plain-text format (version 1); a test checks the names.
intersphinx_mapping = {
    "sklearn": ("https://scikit-learn.org/stable/", "_inventories/scikit-learn.txt"),
    "skorch": ("https://skorch.readthedocs.io/en/stable/", "_inventories/skorch.txt"),
    "torch": ("https://docs.pytorch.org/docs/stable/", "_inventories/torch.txt"),
}

myst_enable_extensions = ["colon_fence"]
myst_heading_anchors = 3

copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True

sphinx_gallery_conf = {
    "examples_dirs": "gallery",
    "gallery_dirs": "auto_examples",
    "filename_pattern": r"/plot_",
    "plot_gallery": os.environ.get("SKTL_DOCS_GALLERY", "1") != "0",
    "abort_on_example_error": False,
    "only_warn_on_example_error": False,
    "within_subsection_order": "FileNameSortKey",
    "download_all_examples": False,
    "show_memory": False,
    "show_signature": False,
    "remove_config_comments": True,
    "min_reported_time": 0,
    "write_computation_times": False,
    "doc_module": ("sktl",),
    "backreferences_dir": "api/backreferences",
    "matplotlib_animations": False,
}

html_theme = "pydata_sphinx_theme"
html_title = "sktl"
html_static_path = ["_static"]
html_css_files = ["sktl.css"]
html_show_sourcelink = False
html_copy_source = False
html_favicon = "_static/mark.svg"
html_theme_options = {
    "logo": {
        "text": "sktl",
        "image_light": "_static/mark.svg",
        "image_dark": "_static/mark.svg",
        "alt_text": "sktl, front page",
    },
    "navbar_align": "left",
    "navbar_end": ["theme-switcher"],
    "show_prev_next": True,
    "show_nav_level": 1,
    "navigation_depth": 2,
    "header_links_before_dropdown": 6,
    # The table of backbones needs the full width.
    "secondary_sidebar_items": {"**": ["page-toc"], "guide/backbones": []},
    "footer_start": ["copyright"],
    "footer_end": [],
    "pygments_light_style": "a11y-high-contrast-light",
    "pygments_dark_style": "a11y-high-contrast-dark",
}
html_sidebars = {
    "index": [],
    "getting_started": [],
    "command": [],
    "changelog": [],
    "contributing": [],
    "citing": [],
    "search": [],
}
html_context = {"default_mode": "auto"}


# The methods of skorch that users of the fine-tuned estimators call themselves.
_CALLED_BY_USERS = (
    *("fit", "partial_fit", "predict", "predict_proba", "score", "initialize"),
    *("get_params", "set_params", "save_params", "load_params", "classes_"),
)


def _leave_out(app, what, name, obj, skip, options):
    """Leave out the methods for metadata routing and the hooks of skorch."""
    made = name.startswith("set_") and name.endswith("_request")
    ours = (getattr(obj, "__module__", None) or "").startswith("sktl.finetune")
    hook = ours and hasattr(NeuralNet, name) and name not in _CALLED_BY_USERS
    return True if made or hook or name == "get_metadata_routing" else None


def setup(app):
    """Connect to Sphinx."""
    app.connect("autodoc-skip-member", _leave_out)
