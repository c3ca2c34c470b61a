"""fastai's ``fine_tune`` as a contender."""

import numpy as np
import torch
from fastai.vision import all as fastai


def fine_tuned(make_learner, X, y, *, size, batch_size, epochs, seed):
    """Train the head for one epoch and everything for some; return what predicts.

    ``make_learner`` gets fastai's data loaders and returns the learner.
    """
    fastai.set_seed(seed)
    items = [(path, str(label)) for path, label in zip(X, y, strict=True)]
    block = fastai.DataBlock(
        blocks=(fastai.ImageBlock, fastai.CategoryBlock),
        get_x=fastai.ItemGetter(0),
        get_y=fastai.ItemGetter(1),
        # It needs images for validation; one costs next to nothing.
        splitter=fastai.IndexSplitter([len(items)]),
        item_tfms=fastai.Resize(round(size * 256 / 224)),
        batch_tfms=fastai.aug_transforms(size=size, min_scale=0.75),
    )
    data = block.dataloaders(
        [*items, items[0]], bs=batch_size, num_workers=0, device=torch.device("cpu")
    )
    learner = make_learner(data)
    with learner.no_bar(), learner.no_logging():
        learner.fine_tune(epochs, freeze_epochs=1)

    def predict(X_test):
        loader = data.test_dl([(path, None) for path in X_test])
        with learner.no_bar(), learner.no_logging():
            scores, _ = learner.get_preds(dl=loader)
        return np.array(data.vocab).astype(int)[scores.argmax(1).numpy()]

    return predict
