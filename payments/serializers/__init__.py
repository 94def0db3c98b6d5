"""Pay-in on the wire: what a shop sends and what it is shown, one module for each kind of object."""
