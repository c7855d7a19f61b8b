"""Stand-in for the package that Azure's runtime delivers to entry scripts; it is on no index."""
