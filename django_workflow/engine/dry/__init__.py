"""What a run would do, without running it: no handler is called and nothing is written."""
