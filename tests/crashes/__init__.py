"""Processes, connections and servers that die: nothing is lost, nothing is recorded twice."""
