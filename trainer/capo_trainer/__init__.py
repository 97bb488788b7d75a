"""Trains recommenders on a released dataset. It knows the dataset's format, nothing of what made it."""

from pathlib import Path

# Settings for `accelerate launch --config_file`.
CONFIGS = Path(__file__).parent / "configs"
