"""The local engine: real desktops on this host, each in its own namespaces under its own unprivileged uid."""
