"""Rows to raters and back, as the command `annotate` does it: export, push, status, pull."""

from __future__ import annotations

from capo_data.annotating_export import export as export

__all__ = ["export"]
