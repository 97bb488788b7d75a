"""Human ratings: what raters are told and shown, how it comes back, and how far they agree."""

from __future__ import annotations

from capo_annotation.rubrics import guidelines as guidelines
