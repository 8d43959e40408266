"""What CI systems read: verdicts and measurements as JUnit XML, Markdown, workflow annotations and benchmark JSON."""
