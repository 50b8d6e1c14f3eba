"""What rows tell people: read-only, values out."""
