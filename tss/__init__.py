"""The protocols and their arithmetic. No I/O: everything that reaches out is an argument."""
