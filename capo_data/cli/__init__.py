"""The command line: one file per command group, thin: parse, call one library function, show."""
