"""The pages of the documentation are doctests. Each runs in a folder of its own.

The pages use ``photos/<class>/<file>``: crops of the two photographs that come with
scikit-learn.
"""

import shutil

import pytest

collect_ignore_glob = ["*.py", "_build/*", "auto_examples/*", "api/generated/*"]


@pytest.fixture(scope="session")
def photographs(tmp_path_factory):
    """Return a folder with ``photos``, which is created once."""
    from PIL import Image
    from sklearn.datasets import load_sample_images

    folder = tmp_path_factory.mktemp("documentation")
    for name, picture in zip(
        ("building", "flower"), load_sample_images().images, strict=True
    ):
        (folder / "photos" / name).mkdir(parents=True)
        for i in range(12):
            top, left = 96 * (i // 4), 128 * (i % 4)
            crop = Image.fromarray(picture[top : top + 128, left : left + 128])
            crop.save(folder / "photos" / name / f"{i:02}.jpg", quality=90)
    return folder


@pytest.fixture(autouse=True)
def beside_the_photographs(photographs, tmp_path, monkeypatch):
    """Run a page next to ``photos``, with stores that are deleted afterwards."""
    shutil.copytree(photographs / "photos", tmp_path / "photos")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SKTL_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("MPLBACKEND", "agg")
