"""A registered version as a server: requests, batches of them, and the model that MLflow loads."""
