"""The node that drives everything: accounts, sessions, proposals, stock, presence. `Node` is its facade."""
