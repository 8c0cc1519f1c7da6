"""Photo puppets: talking clips with exact truth, made from portrait photographs."""
