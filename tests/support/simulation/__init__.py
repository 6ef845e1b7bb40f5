"""Whole committees in one process under a seeded scheduler with virtual time: faults, malicious parties, invariants.

    scheduler   virtual time                      relay       the gateway, and its faults
    disk        what a party persisted            party       one node: proposals, crashes, what it sends again
    planning    from a proposal to a session      driving     its sessions, one call of the engine after the other
    malice      a party that cheats               lies        what it makes of honest values
    world       a committee and its time          scenarios   what is asked of it in one life
    artefacts   what a life leaves behind         checker     the invariants, read from that alone
    judge       signatures, by foreign code       main        many lives in processes, or one with its trace

A life is a function of its seed and nothing else (the ephemeral keys of sealed envelopes aside, which decide nothing).
"""
