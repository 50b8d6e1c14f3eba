"""A naive model of runs, slow and obvious, that the engine is checked against."""
