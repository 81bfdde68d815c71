"""The command line: one function a verb, one sentence an error."""
