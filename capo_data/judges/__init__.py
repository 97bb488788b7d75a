"""Judges: request -> raw answer, and what is asked, kept, paced, priced and understood on the way."""
