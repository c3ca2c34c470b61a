"""Record the embeddings and digests that the tests compare bundled weights with.

Run from the repository root after deliberately replacing a weights file::

    python benchmarks/pretraining/record_embeddings.py
"""

import hashlib
import json
import sys
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests"))
RECORD = ROOT / "tests" / "bundled_embeddings.json"


def main():
    """Write ``tests/bundled_embeddings.json``."""
    if not RECORD.exists():
        RECORD.write_text("{}")
    from test_bundled_weights import CLASSES, WEIGHTS, embed

    record = {}
    for name in CLASSES:
        embedding = embed(name)
        every = embedding.shape[1] // 32 + 1
        file = (WEIGHTS / f"{name}.safetensors").read_bytes()
        record[name] = {
            "sha256": hashlib.sha256(file).hexdigest(),
            "n_features": embedding.shape[1],
            "every": every,
            "values": np.round(embedding[:, ::every].astype(float), 5).tolist(),
            "norms": np.linalg.norm(embedding, axis=1).round(5).astype(float).tolist(),
        }
    RECORD.write_text(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    main()
