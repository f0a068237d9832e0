"""Ways in which speech is degraded: additive noise, and what else happens to it on its way to a listener."""
