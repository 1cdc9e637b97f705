"""The recipes that come with videosoft; `lightning configs` lists them."""
