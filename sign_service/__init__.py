"""The daemon sign-service: one participant of a committee."""
