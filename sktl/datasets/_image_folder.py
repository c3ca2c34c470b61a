"""``load_image_folder``: one folder per class → paths and labels."""

from __future__ import annotations

import os
from collections import Counter
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
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "dev": "val",
    "test": "test",
    "testing": "test",
}
_ORDER = ("train", "val", "test")


def load_image_folder(path, *, splits="auto") -> Bunch:
    """Load the paths and labels of images that lie in one folder per class.

    Like :func:`sklearn.datasets.load_files`, for images: nothing is opened, so a
    million files cost a listing.

    Parameters
    ----------
    path : str or path-like
        The folder: ``path/cats/1.jpg``, ``path/dogs/2.jpg``; or, with splits,
        ``path/train/cats/1.jpg``, ``path/test/cats/3.jpg``. Images in folders inside
        a class folder belong to that class.

    splits : {"auto"} or bool, default="auto"
        Whether the folders in ``path`` are splits (``train``, ``val`` and ``test``,
        or ``training``, ``valid``, ``validation``, ``dev``, ``testing``) and not
        classes. ``"auto"`` takes them for splits when all of them have such names.
        ``True`` reads the splits and leaves other folders alone; ``False`` reads
        every folder as a class.

    Returns
    -------
    data : :class:`~sklearn.utils.Bunch`
        With the attributes

        paths : ndarray of str, dtype object
            The images in the order of splits, classes and names: sorted, not
            shuffled. Absolute only if ``path`` is.
        data : ndarray
            The same array, under the name that other loaders use.
        target : ndarray of int
            The class of each image, an index into ``target_names``.
        target_names : list of str
            The class folders of all splits, sorted.
        split : ndarray of str, only with splits
            The split of each image: ``"train"``, ``"val"`` or ``"test"``.
        train, val, test : Bunch, only with those splits
            ``paths``, ``data``, ``target`` and ``target_names`` of one split.
        n_skipped : int
            How many files were passed over: hidden ones, files that are no images by
            their name, and files outside class folders.
        skipped : list of str
            These files.
        DESCR : str
            A summary to print.

    Raises
    ------
    ImageInputError
        If there are no class folders, a class folder holds no image, or a split holds
        a class that the training split lacks.

    Notes
    -----
    Folders and files that begin with a dot, and ``__MACOSX``, are hidden. Symbolic
    links are followed wherever they lead, as data sets are often made of them; a
    folder that contains itself by way of a link is read once.

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
    of_split = _splits_among(root, folders, splits)
    if of_split is None:
        found = {None: _classes(root, folders, skipped)}
    else:
        found = {}
        for split in _ORDER:
            if split in of_split:
                top = os.path.join(root, of_split[split])
                found[split] = _classes(top, _subfolders(top, skipped), skipped)
        _check_classes_of_splits(root, found)
    return _bunch(root, found, skipped)


def list_images(path) -> list[str]:
    """List the images in a folder and in the folders inside it.

    Parameters
    ----------
    path : str or path-like
        The folder.

    Returns
    -------
    paths : list of str
        What is an image by its name, sorted; hidden files are left out.

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


def _splits_among(
    root: str, folders: list[str], splits: str | bool
) -> dict[str, str] | None:
    """Return which folder is which split; None if the folders are classes."""
    named = [folder for folder in folders if folder.lower() in _SPLITS]
    if splits is False or (not named and splits == "auto"):
        return None
    if not named:
        raise ImageInputError(
            f"splits=True, but {root!r} holds none of the folders train, val and test."
        )
    if splits == "auto" and len(named) < len(folders):
        names = {_SPLITS[folder.lower()] for folder in named}
        if len(names) == 1:
            return None  # a class that happens to be called "train"
        others = [folder for folder in folders if folder not in named]
        raise ImageInputError(
            f"{root!r} holds both splits ({', '.join(named)}) and other folders "
            f"({', '.join(others[:5])}). Pass splits=True to read only the splits, or "
            "splits=False if every folder is a class."
        )
    of_split: dict[str, str] = {}
    for folder in named:
        split = _SPLITS[folder.lower()]
        if split in of_split:
            raise ImageInputError(
                f"{root!r} holds two folders for the split {split!r}: "
                f"{of_split[split]!r} and {folder!r}. Keep one of them."
            )
        of_split[split] = folder
    return of_split


def _classes(top: str, folders: list[str], skipped: list[str]) -> dict[str, list[str]]:
    """Return the images of each class folder in ``top``."""
    if not folders:
        loose = sum(_is_image(name) for name in os.listdir(top))
        raise ImageInputError(
            f"{top!r} holds no class folders{f', but {loose} images' if loose else ''}."
            " Put the images of each class into a folder of their own, such as "
            f"{os.path.join(top, 'cats')!r}; images without labels need no loader: a "
            "list of paths is enough."
        )
    classes = {}
    for name in folders:
        folder = os.path.join(top, name)
        classes[name] = _images_in(folder, skipped, (os.path.realpath(top),))
    empty = [name for name, images in classes.items() if not images]
    if empty:
        raise ImageInputError(
            f"Class folders without a single image in {top!r}: "
            f"{', '.join(map(repr, empty))}. Remove them, or add their images."
        )
    return classes


def _images_in(folder: str, skipped: list[str], above: tuple[str, ...]) -> list[str]:
    """Return the images in a folder and the folders inside it, sorted by name."""
    real = os.path.realpath(folder)
    if real in above:
        return []  # a link to a folder that we are already in
    images = []
    for entry in _entries(folder):
        if _is_hidden(entry.name):
            if entry.is_file():
                skipped.append(entry.path)
        elif entry.is_dir():
            images += _images_in(entry.path, skipped, (*above, real))
        elif _is_image(entry.name) and entry.is_file():
            images.append(entry.path)
        else:
            skipped.append(entry.path)
    return images


def _subfolders(folder: str, skipped: list[str]) -> list[str]:
    """Return the names of the visible folders in a folder; its files are skipped."""
    names = []
    for entry in _entries(folder):
        if not entry.is_dir():
            skipped.append(entry.path)
        elif not _is_hidden(entry.name):
            names.append(entry.name)
    return names


def _entries(folder: str) -> list[os.DirEntry]:
    """Return what is in a folder, sorted by name."""
    try:
        with os.scandir(folder) as entries:
            return sorted(entries, key=lambda entry: entry.name)
    except OSError as error:
        raise ImageInputError(
            f"The folder {folder!r} cannot be read: {error.strerror}."
        ) from error


def _is_hidden(name: str) -> bool:
    """Tell whether a file or folder is not meant to be seen."""
    return name.startswith(".") or name == "__MACOSX"


def _is_image(name: str) -> bool:
    """Tell from its name whether a file is an image."""
    return not _is_hidden(name) and name.lower().endswith(_IMAGE_SUFFIXES)


def _check_classes_of_splits(root: str, found: dict) -> None:
    """Refuse classes that nothing could learn, most often a misspelt folder."""
    for split, classes in found.items():
        unknown = sorted(set(classes) - set(found.get("train", classes)))
        if unknown:
            raise ImageInputError(
                f"The {split} split of {root!r} holds classes that its train split "
                f"lacks: {', '.join(map(repr, unknown))}. Class folders have to be "
                "spelt alike in all splits."
            )


def _bunch(root: str, found: dict, skipped: list[str]) -> Bunch:
    """Return what was found as a Bunch, whole and by split."""
    from sklearn.utils import Bunch

    names = sorted({name for classes in found.values() for name in classes})
    code = {name: i for i, name in enumerate(names)}
    paths: list[str] = []
    target: list[int] = []
    split: list[str] = []
    for of, classes in found.items():
        for name, images in classes.items():
            paths += images
            target += [code[name]] * len(images)
            split += [of] * len(images)
    labelled = _labelled(Bunch, paths, target, names)
    labelled.update(
        n_skipped=len(skipped),
        skipped=skipped,
        DESCR=_description(root, found, names, skipped),
    )
    if None not in found:
        labelled.split = np.array(split)
        for of in found:
            chosen = np.flatnonzero(labelled.split == of)
            labelled[of] = _labelled(
                Bunch, labelled.paths[chosen], labelled.target[chosen], names
            )
    return labelled


def _labelled(bunch, paths, target, names: list[str]) -> Bunch:
    """Return paths and labels as a Bunch."""
    column = np.empty(len(paths), dtype=object)
    column[:] = paths
    return bunch(
        paths=column,
        data=column,
        target=np.asarray(target, dtype=np.int64),
        target_names=list(names),
    )


def _description(root: str, found: dict, names: list[str], skipped: list[str]) -> str:
    """Return a summary of the folder in words."""
    lines = [f"{root}: {len(names)} classes"]
    for split, classes in found.items():
        counts = [len(images) for images in classes.values()]
        lines.append(
            f"{split or 'images'}: {sum(counts)} in {len(counts)} classes of "
            f"{min(counts)} to {max(counts)}"
        )
    if skipped:
        kinds = Counter(os.path.splitext(name)[1].lower() or "-" for name in skipped)
        listed = ", ".join(f"{kind} {n}" for kind, n in kinds.most_common(5))
        lines.append(f"skipped files: {len(skipped)} ({listed})")
    return "\n".join(lines)
