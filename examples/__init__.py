"""An application that uses the models. Its modules are imported as ``examples.exchange``."""
