"""What is released: the dataset folder, its card, its contract, and a look inside."""
