"""Rows of numbers under keys made from content: bytes in, arrays out, on this machine.

Nothing here knows about networks or images. The engine reads, writes and claims rows
through the four methods of ``RowStore``.
"""

from sktl.store._embedding_store import EmbeddingStore, cache_root, open_store
from sktl.store._session_folder import is_worker
from sktl.store._store_folder import RowStore

__all__ = ["EmbeddingStore", "RowStore", "cache_root", "is_worker", "open_store"]
