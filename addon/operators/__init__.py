"""The operators; each is a thin, scriptable shell around one module of the add-on."""
