"""A package, so that no other package called ``tests`` can stand in for it."""
