"""Golden files: UCI configuration in, ruleset, fw4's rules and warnings out, byte for byte."""
