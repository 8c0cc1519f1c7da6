"""The smallest model there is: the example of docs/adding-a-model.md, run by its test."""
