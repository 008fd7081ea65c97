"""Training of the nano checkpoint (with torch; the package never imports it). See README.md."""
