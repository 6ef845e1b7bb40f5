"""The gRPC services of a node: `mpc.Participant` and `wallet.v1.Wallet` for callers, `wallet.v1.Operator` for operators.

Each service is a class whose methods are named as in the .proto file and take (request, caller); `gate` stands before all
of them: it finds out who calls, counts the call against his limit, and turns whatever goes wrong into a status.
"""
