"""Portraits as the published models see them: pictures, masks, face vectors."""
