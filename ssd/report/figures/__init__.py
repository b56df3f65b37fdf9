"""The figures of the report, one function each; none touches pyplot or a file."""
