"""Versions of models in an MLflow registry: register, find, download, and promote the better one.

Importing it imports neither MLflow nor torch: each function imports what it needs.
"""

from sknn.registry.champion import rollback
from sknn.registry.decision import Decision
from sknn.registry.digests import file_digest
from sknn.registry.download import download
from sknn.registry.promotion import promote
from sknn.registry.register import register
from sknn.registry.versions import ModelVersion, find_version

__all__ = ["Decision", "ModelVersion", "download", "file_digest", "find_version", "promote", "register", "rollback"]
