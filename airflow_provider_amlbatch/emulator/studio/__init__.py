"""Pages for people: what is shown, drawn and formatted. Nothing here asks a service or knows a route."""
