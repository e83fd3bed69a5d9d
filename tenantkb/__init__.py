"""A knowledge-base core that many tenants share."""
