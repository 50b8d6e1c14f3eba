"""What the tests of several subjects share: runs, definitions, step types, worker processes."""
