"""The test kit that projects use."""
