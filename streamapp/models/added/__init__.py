"""Models that were added: each file here is one, by its name. docs/add-a-model.md says what a file has."""
