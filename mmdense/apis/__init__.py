"""What people call from their own code: models, measurements, published files."""
