"""One Airflow instance: its session, its REST resources, and what differs between versions."""
