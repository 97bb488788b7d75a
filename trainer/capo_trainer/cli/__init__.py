"""The command line: each module parses, calls one library function, and shows what it returns."""
