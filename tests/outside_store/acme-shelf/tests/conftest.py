pytest_plugins = ["tenantkb.testing.plugin"]
