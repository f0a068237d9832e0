"""A page in the browser, and an HTTP endpoint: what ``speechtools serve`` starts (extra ``web``)."""
