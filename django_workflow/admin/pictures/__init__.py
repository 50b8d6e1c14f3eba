"""Pictures of the admin, as SVG made on the server."""
