"""The client: a library for wallets and the command mpc-client."""
