"""Where answers go: one module per kind of output, all with the interface of `base.Sink`."""
