"""What makes the files that ship in the package; not part of the package."""
