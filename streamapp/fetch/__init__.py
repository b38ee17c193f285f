"""From a URL that a user chose to the file's bytes, without reaching what the user must not reach."""
