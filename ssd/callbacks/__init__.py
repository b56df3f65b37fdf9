"""What Lightning's own callbacks and loggers lack."""
