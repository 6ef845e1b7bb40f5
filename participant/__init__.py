"""The node: accounts, sessions, store, policy, rooms client and the services that callers and operators use."""
