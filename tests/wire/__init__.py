"""Wire codecs: annotated dumps, hostile input, and the real kernel."""
