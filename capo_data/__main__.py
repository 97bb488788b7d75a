"""`python -m capo_data` is `capo-data`."""

from capo_data.cli.main import main

main()
