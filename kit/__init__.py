"""What every daemon needs: settings, logs, TLS, metrics, health, sockets, signals. `kit.pb` holds generated stubs."""
