"""Rows to raters and back, as the command `annotate` does it: export, push, status, pull."""

from __future__ import annotations

from capo_data.annotating_export import export as export
from capo_data.annotating_server import pull as pull
from capo_data.annotating_server import push as push
from capo_data.annotating_server import status as status

__all__ = ["export", "pull", "push", "status"]
