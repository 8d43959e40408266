"""What a method takes in memory, predicted from a model's configuration by arithmetic alone."""
