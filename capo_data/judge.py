"""The commands below `capo-data judge` as calls: `capo_data.judge.reparse("runs/demo")`."""

from __future__ import annotations

from capo_data.audit.auditing import audit
from capo_data.batching import batches
from capo_data.revising import again, reparse

__all__ = ["again", "audit", "batches", "reparse"]
