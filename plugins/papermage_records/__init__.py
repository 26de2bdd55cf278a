"""Built-in writers of records: nested entities put together, as JSON Lines, CSV, CSL-JSON, BibTeX and TEI."""
