"""The room broker: an untrusted relay of signed and sealed messages by HTTP and SSE, and a gRPC proxy."""
