"""The version, in one place for code that must not import the package's top."""

VERSION = "0.1.0"
