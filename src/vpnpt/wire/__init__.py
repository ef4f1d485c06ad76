"""Bytes to events and back: pure codecs, no sockets."""
