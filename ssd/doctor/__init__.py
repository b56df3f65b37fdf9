"""What can be found out about a data set and its anchors before training; all of it plain data."""
