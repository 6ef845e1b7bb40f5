"""The command mpc-keygen: key ceremonies, import, export and inspection of shares."""
