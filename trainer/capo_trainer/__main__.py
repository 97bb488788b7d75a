"""`python -m capo_trainer`."""

from capo_trainer.cli.main import main

if __name__ == "__main__":
    main()
