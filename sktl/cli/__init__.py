"""The command ``sktl``."""
