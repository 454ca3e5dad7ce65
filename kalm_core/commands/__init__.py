"""The commands of `kalm`, one module each; `kalm_core.cli` puts them together."""
