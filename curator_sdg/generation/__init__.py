"""Steps 3 and 4: new questions, and answers with reasoning and knowledge."""
