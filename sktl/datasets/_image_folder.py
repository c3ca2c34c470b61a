"""``load_image_folder``: one folder per class → paths and labels."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np

from sktl.exceptions import ImageInputError

if TYPE_CHECKING:
    from sklearn.utils import Bunch

_IMAGE_SUFFIXES = (
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".jp2", ".j2k", ".png", ".apng", ".gif"),
    *(".webp", ".avif", ".bmp", ".dib", ".tif", ".tiff", ".tga", ".ico"),
    *(".pbm", ".pgm", ".ppm", ".pnm"),
)
_SPLITS = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("val", "valid", "validation", "dev"), "val"),
    **dict.fromkeys(("test", "testing"), "test"),
}
Classes = dict[str, list[str]]  # the images of each class folder


def load_image_folder(path, *, splits="auto") -> Bunch:
    """Load the paths and labels of images stored in one folder per class.

    Like :func:`sklearn.datasets.load_files`, but no file is opened.

    Parameters
    ----------
    path : str or path-like
        The folder: ``path/cats/1.jpg``, ``path/dogs/2.jpg``; or, with splits,
        ``path/train/cats/1.jpg``, ``path/test/cats/3.jpg``. Images in folders inside
        a class folder belong to that class.
    splits : {"auto"} or bool, default="auto"
        Whether the folders in ``path`` are splits (``train``, ``val`` and ``test``,
        or ``training``, ``valid``, ``validation``, ``dev``, ``testing``) rather than
        classes. ``"auto"`` reads them as splits if all have such names; ``True``
        ignores other folders; ``False`` reads every folder as a class.

    Returns
    -------
    data : :class:`~sklearn.utils.Bunch`
        With the attributes

        paths, data : ndarray of str, dtype object
            The images, sorted by split, class and name; absolute only if ``path`` is.
            Both names refer to the same array.
        target : ndarray of int
            The class of each image, an index into ``target_names``.
        target_names : list of str
            The class folders of all splits, sorted.
        split : ndarray of str, only with splits
            The split of each image: ``"train"``, ``"val"`` or ``"test"``.
        train, val, test : Bunch, only with those splits
            ``paths``, ``data``, ``target`` and ``target_names`` of one split.
        skipped, n_skipped : list of str, int
            The files that were left out, and their number: hidden files, files not
            named like an image, and files outside class folders.
        DESCR : str
            A summary to print.

    Raises
    ------
    ImageInputError
        If there are no class folders, a class folder holds no image, or a split holds
        a class that the training split lacks.

    Notes
    -----
    Folders and files whose names begin with a dot, and ``__MACOSX``, are hidden.
    Symbolic links are followed, except back to a folder that contains the link.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from PIL import Image
    >>> from sktl.datasets import load_image_folder
    >>> folder = Path(tempfile.mkdtemp())
    >>> for name in ("cats/1.png", "cats/2.png", "dogs/1.png", "dogs/notes.txt"):
    ...     (folder / name).parent.mkdir(exist_ok=True)
    ...     Image.new("RGB", (8, 8)).save(folder / name, format="PNG")
    >>> pets = load_image_folder(folder)
    >>> len(pets.paths), pets.target, pets.target_names, pets.n_skipped
    (3, array([0, 0, 1]), ['cats', 'dogs'], 1)
    """
    if splits not in ("auto", True, False):
        raise ValueError(f"splits={splits!r}: choose 'auto', True or False.")
    root = os.path.expanduser(os.fspath(path))
    if not os.path.isdir(root):
        what = "is a file" if os.path.exists(root) else "does not exist"
        raise ImageInputError(f"load_image_folder needs a folder, and {root!r} {what}.")
    skipped: list[str] = []
    folders = _subfolders(root, skipped)
    folder_of_split = _splits_among(root, folders, splits)
    if not folder_of_split:
        classes = _classes(root, folders, skipped)
        return _bunch(root, {"images": classes}, skipped)
    found = {}
    for split, folder in folder_of_split.items():
        top = os.path.join(root, folder)
        found[split] = _classes(top, _subfolders(top, skipped), skipped)
        unknown = set(found[split]) - set(found.get("train", found[split]))
        if unknown:
            raise ImageInputError(
                f"The {split} split of {root!r} holds classes that its train split "
                f"lacks: {', '.join(map(repr, sorted(unknown)))}. A class folder must "
                "have the same name in all splits."
            )
    data = _bunch(root, found, skipped)
    counts = [sum(map(len, classes.values())) for classes in found.values()]
    data.split = np.repeat(list(found), counts)
    for split, classes in found.items():
        data[split] = _labelled([classes], data.target_names)
    return data


def list_images(path) -> list[str]:
    """List the images in a folder and in the folders inside it.

    Parameters
    ----------
    path : str or path-like
        The folder.

    Returns
    -------
    paths : list of str
        The visible files that are named like an image, sorted.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from sktl.datasets import list_images
    >>> folder = Path(tempfile.mkdtemp())
    >>> for name in ("b.png", "a.jpg", "notes.txt"):
    ...     (folder / name).touch()
    >>> [Path(image).name for image in list_images(folder)]
    ['a.jpg', 'b.png']
    """
    return _images_in(os.path.expanduser(os.fspath(path)), [], ())


def _splits_among(root: str, folders: list[str], splits) -> dict[str, str]:
    """Return the folder of each split; none if the folders are classes."""
    split_of = {f: _SPLITS[f.lower()] for f in folders if f.lower() in _SPLITS}
    others = [folder for folder in folders if folder not in split_of]
    # A class may happen to be called "train".
    is_class = not split_of or (others and len(set(split_of.values())) == 1)
    if splits is False or (splits == "auto" and is_class):
        return {}
    if not split_of:
        raise ImageInputError(
            f"splits=True, but {root!r} holds none of the folders train, val and test."
        )
    if splits == "auto" and others:
        raise ImageInputError(
            f"{root!r} holds both splits ({', '.join(split_of)}) and other folders "
            f"({', '.join(others[:5])}). Pass splits=True to read only the splits, or "
            "splits=False if every folder is a class."
        )
    folder_of = {split: folder for folder, split in split_of.items()}
    if len(folder_of) < len(split_of):
        both = ", ".join(split_of)
        raise ImageInputError(f"{root!r} holds two folders for one split: {both}.")
    return {split: folder_of[split] for split in _SPLITS if split in folder_of}


def _classes(top: str, folders: list[str], skipped: list[str]) -> Classes:
    """Return the images of each class folder in ``top``."""
    if not folders:
        loose = sum(_is_image(name) for name in os.listdir(top))
        raise ImageInputError(
            f"{top!r} holds no class folders{f', but {loose} images' if loose else ''}."
            " Put the images of each class into a folder of their own, such as "
            f"{os.path.join(top, 'cats')!r}; without labels, a list of paths is enough."
        )
    above = (os.path.realpath(top),)
    classes = {
        name: _images_in(os.path.join(top, name), skipped, above) for name in folders
    }
    empty = ", ".join(repr(name) for name, images in classes.items() if not images)
    if empty:
        raise ImageInputError(
            f"{top!r} has class folders without any image: {empty}. Remove them, or "
            "add images."
        )
    return classes


def _images_in(folder: str, skipped: list[str], above: tuple[str, ...]) -> list[str]:
    """Return the images in a folder and the folders inside it, sorted by name."""
    real = os.path.realpath(folder)
    if real in above:
        return []  # a link to a folder that we are already in
    images = []
    for entry in _entries(folder):
        if entry.is_dir():
            if not _is_hidden(entry.name):
                images += _images_in(entry.path, skipped, (*above, real))
        else:
            is_image = _is_image(entry.name) and entry.is_file()
            (images if is_image else skipped).append(entry.path)
    return images


def _subfolders(folder: str, skipped: list[str]) -> list[str]:
    """Return the names of the visible folders in a folder; its files are skipped."""
    entries = _entries(folder)
    skipped += [entry.path for entry in entries if not entry.is_dir()]
    return [e.name for e in entries if e.is_dir() and not _is_hidden(e.name)]


def _entries(folder: str) -> list[os.DirEntry]:
    """Return the entries of a folder, sorted by name."""
    try:
        with os.scandir(folder) as entries:
            return sorted(entries, key=lambda entry: entry.name)
    except OSError as error:
        raise ImageInputError(
            f"{folder!r} cannot be read: {error.strerror}."
        ) from error


def _is_hidden(name: str) -> bool:
    """Tell whether a file or folder is hidden."""
    return name.startswith(".") or name == "__MACOSX"


def _is_image(name: str) -> bool:
    """Tell from its name whether a file is an image."""
    return not _is_hidden(name) and name.lower().endswith(_IMAGE_SUFFIXES)


def _bunch(root: str, found: dict[str, Classes], skipped: list[str]) -> Bunch:
    """Return the images found as a Bunch, with a summary."""
    names = sorted(set().union(*found.values()))
    lines = [f"{root}: {len(names)} classes"]
    for split, classes in found.items():
        counts = [len(images) for images in classes.values()]
        lines.append(
            f"{split}: {sum(counts)} in {len(counts)} classes of {min(counts)} to "
            f"{max(counts)}"
        )
    if skipped:
        kinds = Counter(os.path.splitext(name)[1].lower() or "-" for name in skipped)
        listed = ", ".join(f"{kind} {n}" for kind, n in kinds.most_common(5))
        lines.append(f"skipped files: {len(skipped)} ({listed})")
    data = _labelled(found.values(), names)
    data.update(n_skipped=len(skipped), skipped=skipped, DESCR="\n".join(lines))
    return data


def _labelled(splits: Iterable[Classes], names: list[str]) -> Bunch:
    """Return the paths and labels of classes as a Bunch."""
    from sklearn.utils import Bunch

    classes = [(name, images) for found in splits for name, images in found.items()]
    paths = np.array([path for _, images in classes for path in images], dtype=object)
    code = {name: i for i, name in enumerate(names)}
    codes = (code[name] for name, images in classes for _ in images)
    target = np.fromiter(codes, dtype=np.int64)
    return Bunch(paths=paths, data=paths, target=target, target_names=list(names))
