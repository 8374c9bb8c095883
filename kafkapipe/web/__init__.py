"""What serves people over HTTP: the collector with its page, and the management port."""
