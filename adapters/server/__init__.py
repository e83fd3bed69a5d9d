"""The server: MCP and HTTP, bound to the face of the application."""
